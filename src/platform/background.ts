import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log } from "./log.ts";

/** Work that no answer waits for. It runs piece by piece, so that a flood of it takes one database connection. */
export interface Background {
  /** Runs it soon, in its turn. Returns false, and forgets it, if too much is waiting already. */
  run(work: () => Promise<void>): boolean;
  /** Waits until all is done, but not for ever. */
  close(): Promise<void>;
}

/** Begins each piece in a later turn of the event loop, so that it does not delay the answer of the present call. */
export function createBackground(parts: {
  /** What the work is, for the log. */
  name: string;
  log: Log;
  /** How much may wait. */
  maxWaiting: number;
  /** How long a shutdown waits. */
  closeMs: number;
}): Background {
  const { name, log, maxWaiting, closeMs } = parts;
  const waiting: (() => Promise<void>)[] = [];
  let working: Promise<void> | undefined;
  let dropped = 0;
  let closed = false;

  async function workOff() {
    while (waiting.length > 0) {
      await nextTurn();
      try {
        await waiting.shift()?.();
      } catch (error) {
        log.error({ err: error }, `${name}: failed`);
      }
    }
    if (dropped > 0) log.warn({ dropped }, `${name}: this many were dropped`);
    dropped = 0;
    working = undefined;
  }

  function drop(count: number, why: string) {
    // A line for each would be a flood as well; the total follows.
    if (dropped === 0) log.warn(`${name}: dropped, ${why}`);
    dropped += count;
  }

  return {
    run(work) {
      if (closed || waiting.length >= maxWaiting) {
        drop(1, closed ? "the service has stopped" : "too much is waiting");
        return false;
      }
      waiting.push(work);
      working ??= workOff();
      return true;
    },

    async close() {
      const deadline = setTimeout(() => {
        closed = true;
        // Running work ends by the deadlines of what it waits for.
        if (waiting.length > 0) drop(waiting.splice(0).length, "the service stops");
      }, closeMs);
      await working;
      clearTimeout(deadline);
      closed = true;
    },
  };
}
