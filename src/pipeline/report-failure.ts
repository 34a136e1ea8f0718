import type { ConnectError } from "@connectrpc/connect";
import type { Refusals } from "#src/audit/refusals.ts";
import type { Call } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { asFailure, InternalError, toConnectError } from "./failures.ts";

/** What the caller of a call may know of something thrown. The signal is aborted if the call has ended already. */
export type ReportFailure = (thrown: unknown, call: Call, signal?: AbortSignal) => ConnectError;

/**
 * Shows callers what they may know, the log the faults of this service, and the audit log what policy refused. What is
 * shown last is what the call failed with: it may come by several times on its way out.
 */
export function createReportFailure(log: Log, refusals: Pick<Refusals, "note">): ReportFailure {
  function judge(thrown: unknown, call: Call, signal: AbortSignal | undefined): ConnectError {
    const { requestId, rpc } = call;
    const failure = asFailure(thrown);
    if (signal?.aborted !== true) {
      if (failure instanceof InternalError) {
        log.error({ err: failure.cause, requestId, rpc }, "call failed by a fault of ours");
      }
      refusals.note(failure, call);
      return toConnectError(failure);
    }
    // An ended call fails somewhere by having ended. Something else may be a fault, or only look like one.
    if (failure instanceof InternalError && thrown !== signal.reason) {
      log.warn({ err: failure.cause, requestId, rpc }, "a call that had ended failed by something else");
    }
    return toConnectError(asFailure(signal.reason));
  }

  return (thrown, call, signal) => {
    const shown = judge(thrown, call, signal);
    if (shown.cause instanceof ServiceError) call.failure = shown.cause.reason;
    return shown;
  };
}
