import { Code, ConnectError } from "@connectrpc/connect";

/** Tells the operator of a service why its guard refuses everybody. */
export type TellProblem = (problem: string, cause: unknown) => void;

/** The same is not told again so soon: there may be thousands of requests a second. */
const quietMs = 10_000;

export function createTellProblem(onError: (error: Error) => void, monotonicNow: () => number): TellProblem {
  const toldAt = new Map<string, number>();
  return (problem, cause) => {
    const now = monotonicNow();
    if (now - (toldAt.get(problem) ?? -Infinity) < quietMs) return;
    toldAt.set(problem, now);
    const reason = cause instanceof Error ? `: ${cause.message}` : "";
    const error = new Error(`patchbay guard: ${problem}${reason}`, { cause });
    // Not right here: what a hook throws must not decide about a request.
    queueMicrotask(() => onError(error));
  };
}

/** What is wrong, in words for the operator, when a call of the guard's to Patchbay fails. */
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

const answers = new Set([
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.InvalidArgument,
  Code.Unimplemented,
  Code.NotFound,
  Code.FailedPrecondition,
]);

/** Whether Patchbay was there and said no, which nothing that is remembered can make good. */
export function isAnswer(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && answers.has(code);
}

function codeOf(error: unknown): Code | undefined {
  return error instanceof ConnectError ? error.code : undefined;
}
