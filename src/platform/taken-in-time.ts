import type { Call } from "./caller.ts";

/** A reader of a stream that takes nothing for so long is cut. */
export const patienceMs = 30_000;
const lookMs = 1_000;

/** Watches over a message of a stream until its reader has taken it, and cuts one that does not. */
export function takenInTime(call: Call, monotonicNow: () => number): Disposable {
  const since = monotonicNow();
  const look = setInterval(() => {
    if (monotonicNow() - since > patienceMs) call.cut?.();
  }, lookMs);
  return { [Symbol.dispose]: () => clearInterval(look) };
}
