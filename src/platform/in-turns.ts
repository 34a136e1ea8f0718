import { setImmediate as nextTurn } from "node:timers/promises";

/** Work that yields every millisecond or two. */
export type LongWork<T> = Generator<undefined, T>;

/** Does long work to its end. Wherever it yields, others get their turn. */
export async function inTurns<T>(work: LongWork<T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await nextTurn();
  }
}

/** Does long work where others cannot get a turn. */
export function atOnce<T>(work: LongWork<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}
