import { createTally } from "#src/platform/tally.ts";

/** A key that a task counts under while it runs, and how many tasks may run under it at once. */
export interface Place {
  readonly key: string;
  readonly most: number;
}

interface Waiting {
  readonly places: readonly Place[];
  readonly start: () => void;
}

/** Runs tasks, at most `total` at once and at most `most` of one place; the others wait in order. */
export function createKeyedLimit(total: number) {
  const waiting: Waiting[] = [];
  const running = createTally();
  let runningInAll = 0;

  function startWhatMay() {
    for (let i = 0; i < waiting.length && runningInAll < total;) {
      const next = waiting[i]!;
      // A task whose place is full is passed over, so that one slow host does not hold up all tasks behind it.
      if (next.places.some(({ key, most }) => running.of(key) >= most)) {
        i++;
        continue;
      }
      waiting.splice(i, 1);
      for (const { key } of next.places) running.add(key, 1);
      runningInAll++;
      next.start();
    }
  }

  function end(places: readonly Place[]) {
    for (const { key } of places) running.add(key, -1);
    runningInAll--;
    startWhatMay();
  }

  return async function run<T>(places: readonly Place[], task: () => Promise<T>): Promise<T> {
    await new Promise<void>((start) => {
      waiting.push({ places, start });
      startWhatMay();
    });
    try {
      return await task();
    } finally {
      end(places);
    }
  };
}
