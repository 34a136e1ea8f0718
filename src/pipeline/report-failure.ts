import { ConnectError } from "@connectrpc/connect";
import type { Refusals } from "#src/audit/refusals.ts";
import type { Call } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { asFailure, InternalError, toConnectError } from "./failures.ts";

/** What the caller of a call may know of something thrown. The signal is aborted if the call has ended already. */
export type ReportFailure = (thrown: unknown, call: Call, signal?: AbortSignal) => ConnectError;

/** Shows callers what they may know, the log the faults of this service, and the audit log what policy refused. */
export function createReportFailure(log: Log, refusals: Pick<Refusals, "note">): ReportFailure {
  return (thrown, call, signal) => {
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
  };
}

/** The same, and counts what callers are refused by its reason, of which there are only those of the contract. */
export function countingFailures(report: ReportFailure, meter: Meter): ReportFailure {
  const count = meter.counter({
    name: "patchbay_failures_total",
    help: "Calls that failed, by the reason that their callers were given.",
    labels: ["reason"],
  });
  return (thrown, call, signal) => {
    const shown = report(thrown, call, signal);
    // What the gate or a handler threw comes by again, in its protocol's form, when the answer is framed.
    if (!(thrown instanceof ConnectError) && shown.cause instanceof ServiceError) {
      count({ reason: shown.cause.reason });
    }
    return shown;
  };
}
