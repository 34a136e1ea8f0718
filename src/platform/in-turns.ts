import { setImmediate as nextTurn } from "node:timers/promises";

/** Does long work to its end. Wherever it yields, which should be every millisecond or two, others get their turn. */
export async function inTurns<T>(work: Generator<undefined, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await nextTurn();
  }
}
