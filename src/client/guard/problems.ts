import { Code, ConnectError } from "@connectrpc/connect";

/** Reports to the operator of a service why its guard refuses requests that Patchbay did not refuse. */
export type ReportProblem = (problem: string, cause: unknown) => void;

/** The same problem is not reported again within this time: there may be thousands of requests a second. */
const quietMs = 10_000;

export function createProblemReport(
  onError: (error: Error) => void,
  monotonicNow: () => number,
): ReportProblem {
  const reportedAt = new Map<string, number>();
  return (problem, cause) => {
    const now = monotonicNow();
    if (now - (reportedAt.get(problem) ?? -Infinity) < quietMs) return;
    reportedAt.set(problem, now);
    const reason = cause instanceof Error ? `: ${cause.message}` : "";
    const error = new Error(`patchbay guard: ${problem}${reason}`, { cause });
    // Not right here: an exception of the hook must not decide about a request.
    queueMicrotask(() => onError(error));
  };
}

/** Explains to the operator why a call of the guard to Patchbay failed. */
export function problemOf(error: unknown): string {
  if (isAboutOwnKey(error)) return "Patchbay refuses the guard's own key; give it one that holds keys:verify";
  return codeOf(error) === Code.InvalidArgument
    ? "Patchbay cannot answer the guard's question"
    : "Patchbay cannot be asked";
}

export function isAboutOwnKey(error: unknown): boolean {
  const code = codeOf(error);
  return code === Code.Unauthenticated || code === Code.PermissionDenied;
}

const refusals = new Set([
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.InvalidArgument,
  Code.Unimplemented,
  Code.NotFound,
  Code.FailedPrecondition,
]);

/** Whether Patchbay was reached and refused to answer: no cached answer may be used in its place. */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && refusals.has(code);
}

function codeOf(error: unknown): Code | undefined {
  return error instanceof ConnectError ? error.code : undefined;
}
