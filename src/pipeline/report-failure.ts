import type { ConnectError } from "@connectrpc/connect";
import type { Call } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { asFailure, InternalError, toConnectError } from "./failures.ts";

/** What the caller of a call may know of something thrown. */
export type ReportFailure = (thrown: unknown, call: Call) => ConnectError;

/** Shows callers what they may know, and the log the faults of this service. */
export function createReportFailure(log: Log): ReportFailure {
  return (thrown, { requestId, rpc }) => {
    const failure = asFailure(thrown);
    if (failure instanceof InternalError) {
      log.error({ err: failure.cause, requestId, rpc }, "call failed by a fault of ours");
    }
    return toConnectError(failure);
  };
}
