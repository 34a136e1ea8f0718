import cluster, { type Worker } from "node:cluster";
import { setImmediate as nextTurn } from "node:timers/promises";

/** Resolves when the process has ended and all that it said is heard, with the signal or the code it ended with. */
export async function untilEnded(worker: Worker): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  worker.once("exit", (code, signal) => resolve(signal || String(code)));
  const how = await promise;
  // The end of the channel is there, but may be read later than that of the process is seen.
  while (worker.isConnected()) await nextTurn();
  // Node does not say so if a connection was on its way, and would count on the worker further.
  if (cluster.workers?.[worker.id] !== undefined) worker.process.emit("disconnect");
  return how;
}
