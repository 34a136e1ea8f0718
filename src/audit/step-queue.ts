import { setImmediate as nextTurn } from "node:timers/promises";

/** Runs a step when its turn comes. */
export type InTurn = <T>(key: string, step: () => Promise<T>) => Promise<T>;

/**
 * Runs steps one at a time, and lets the event loop go round between them. The keys take turns: a key with a hundred
 * steps waiting delays another key's by one.
 */
export function createStepQueue(): InTurn {
  const waiting = new Map<string, (() => Promise<void>)[]>();
  let isRunning = false;

  async function workOff() {
    isRunning = true;
    for (let next = takeNext(); next !== undefined; next = takeNext()) {
      await next();
      await nextTurn();
    }
    isRunning = false;
  }

  function takeNext(): (() => Promise<void>) | undefined {
    const [first] = waiting;
    if (first === undefined) return undefined;
    const [key, steps] = first;
    waiting.delete(key);
    const step = steps.shift();
    // To the end of the row, behind all other keys.
    if (steps.length > 0) waiting.set(key, steps);
    return step;
  }

  return (key, step) =>
    new Promise((resolve, reject) => {
      const steps = waiting.get(key) ?? [];
      steps.push(() => step().then(resolve, reject));
      waiting.set(key, steps);
      if (!isRunning) void workOff();
    });
}
