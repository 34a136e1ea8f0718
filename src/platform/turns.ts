import { Members } from "./members.ts";
import { orEnd } from "./or-end.ts";

/** How long some work waits for its turn. */
export interface Waiting {
  /** When it aborts, the work waits no longer, and the signal's reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** After this, the work waits no longer, and `WaitedTooLong` is thrown. */
  readonly patienceMs?: number;
}

/** The turn of some work did not come in time, so that none of it is done. */
export class WaitedTooLong extends Error {}

/** Runs work once fewer than this many run; in the order in which it came. */
export function turnsOf(most: number) {
  let running = 0;
  const waiting = new Members<() => void>();

  function handOn(): void {
    const next = waiting.first;
    if (next === undefined) running -= 1;
    else next();
  }

  async function begin({ signal, patienceMs }: Waiting): Promise<void> {
    signal?.throwIfAborted();
    if (running < most) {
      running += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = waiting.add(() => {
      leave();
      resolve();
    });
    const timer = patienceMs && setTimeout(() => reject(new WaitedTooLong()), patienceMs);
    try {
      await (signal === undefined ? promise : orEnd(signal, () => promise));
    } catch (reason) {
      // Its turn may have come at the same moment.
      if (!leave()) handOn();
      throw reason;
    } finally {
      clearTimeout(timer);
    }
  }

  return async <T>(work: () => Promise<T>, wait: Waiting = {}): Promise<T> => {
    await begin(wait);
    try {
      return await work();
    } finally {
      handOn();
    }
  };
}
