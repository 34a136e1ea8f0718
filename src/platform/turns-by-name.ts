import { turnsOf, type Waiting } from "./turns.ts";

/** Runs work one at a time for each name, in the order in which it came. */
export function turnsByName() {
  const lines = new Map<string, { readonly turn: ReturnType<typeof turnsOf>; size: number }>();

  return async <T>(name: string, work: () => Promise<T>, wait: Waiting = {}): Promise<T> => {
    const line = lines.get(name) ?? { turn: turnsOf(1), size: 0 };
    lines.set(name, line);
    line.size += 1;
    try {
      return await line.turn(work, wait);
    } finally {
      line.size -= 1;
      if (line.size === 0) lines.delete(name);
    }
  };
}
