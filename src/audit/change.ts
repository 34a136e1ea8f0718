import type { Tx, Unchanged } from "#src/db/database.ts";
import type { Call } from "#src/platform/caller.ts";

/**
 * Makes the one change of a call, in the caller's organisation. A call that its caller named, and that took effect
 * before, throws instead; so does one whose name stands for another request.
 */
export type Change = <T>(call: Call, run: (tx: Tx) => Promise<T | Unchanged<T>>) => Promise<T>;
