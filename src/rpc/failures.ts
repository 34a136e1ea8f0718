import type { ConnectError } from "@connectrpc/connect";
import type { Call } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { asFailure, InternalError, toConnectError } from "./errors.ts";

/** What the caller is told of something thrown. */
export type TellFailure = (thrown: unknown, call: Call) => ConnectError;

/** Tells callers what they may know, and the log what is our fault. */
export function createTellFailure(log: Log): TellFailure {
  return (thrown, { requestId, rpc }) => {
    const failure = asFailure(thrown);
    if (failure instanceof InternalError) {
      log.error({ err: failure.cause, requestId, rpc }, "call failed by a fault of ours");
    }
    return toConnectError(failure);
  };
}
