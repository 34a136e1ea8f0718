import { turnsOf, type Waiting } from "./turns.ts";

/** Runs work one at a time, one of each name in turn, so that what one brings much of does not keep others waiting. */
export function fairTurns() {
  const ofAll = turnsOf(1);
  const named = new Map<string, { readonly turn: ReturnType<typeof turnsOf>; waiting: number }>();

  return async <T>(name: string, work: () => Promise<T>, wait: Waiting = {}): Promise<T> => {
    const own = named.get(name) ?? { turn: turnsOf(1), waiting: 0 };
    named.set(name, own);
    own.waiting += 1;
    try {
      return await own.turn(() => ofAll(work, wait), wait);
    } finally {
      own.waiting -= 1;
      if (own.waiting === 0) named.delete(name);
    }
  };
}
