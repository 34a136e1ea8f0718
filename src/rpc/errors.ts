import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, type ErrorInfo } from "#gen/google/rpc/error_details_pb.js";
import { ServiceError, type ErrorKind, type ReasonName } from "#src/platform/errors.ts";

/** The domain of our reasons in `google.rpc.ErrorInfo`. */
const domain = "patchbay";

/** The code that each kind has in gRPC and Connect. */
export const codes: Readonly<Record<ErrorKind, Code>> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  failed_precondition: Code.FailedPrecondition,
  already_exists: Code.AlreadyExists,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  deadline_exceeded: Code.DeadlineExceeded,
  unavailable: Code.Unavailable,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
};

/** A fault of ours. What it was is in the log, under the request id; the caller learns nothing of it. */
export class InternalError extends ServiceError {
  readonly kind = "internal";
  readonly reason = "INTERNAL";

  constructor(cause: unknown) {
    super("internal error; ask the operator to look up the request id in the log");
    this.cause = cause;
  }
}

/** The call took longer than it may. */
export class DeadlineExceeded extends ServiceError {
  readonly kind = "deadline_exceeded";
  readonly reason = "DEADLINE_EXCEEDED";

  constructor() {
    super("the call took longer than its deadline; whether it took effect is unknown");
  }
}

/** Anything thrown, as one of our own failures or the protocol's own cancellation. Fails closed: what is unknown is internal. */
export function asFailure(thrown: unknown): ServiceError | ConnectError {
  if (thrown instanceof ServiceError) return thrown;
  if (thrown instanceof ConnectError) {
    if (thrown.code === Code.Canceled || thrown.cause instanceof ServiceError) return thrown;
    if (thrown.code === Code.DeadlineExceeded) return new DeadlineExceeded();
  }
  if (isAbort(thrown)) return new ConnectError("the caller went away", Code.Canceled);
  return new InternalError(thrown);
}

/** The failure in the form that gRPC, gRPC-Web and Connect send. */
export function toConnectError(thrown: unknown): ConnectError {
  const failure = asFailure(thrown);
  if (failure instanceof ConnectError) return failure;
  return new ConnectError(
    shownText(failure.message),
    codes[failure.kind],
    headersOf(failure),
    [{ desc: ErrorInfoSchema, value: errorInfoOf(failure) }, ...failure.details],
    failure,
  );
}

/**
 * What fits into a header, in text that can be encoded there: over gRPC the message is a trailer, and one that
 * is too large, or no Unicode, would end the caller's whole connection.
 */
function shownText(message: string): string {
  const whole = message.toWellFormed();
  return whole.length <= maxMessageLength ? whole : `${whole.slice(0, maxMessageLength).toWellFormed()}…`;
}

const maxMessageLength = 1_000;

/** What programs are told of a failure. */
export function errorInfoOf(failure: ServiceError): ErrorInfo {
  return create(ErrorInfoSchema, { domain, reason: failure.reason, metadata: { ...failure.metadata } });
}

/** What REST answers for something thrown. */
export interface RestFailure {
  readonly status: number;
  readonly message: string;
  readonly reason: ReasonName;
  readonly headers: Readonly<Record<string, string>>;
}

/** The client went away; nobody reads the status, but the log shows it (nginx's convention). */
const clientClosedRequest = 499;

/** The failure in the form that REST sends. */
export function toRestFailure(thrown: unknown): RestFailure {
  const failure = asFailure(thrown);
  if (failure instanceof ConnectError) {
    if (failure.cause instanceof ServiceError) return toRestFailure(failure.cause);
    return { status: clientClosedRequest, message: failure.rawMessage, reason: "CANCELED", headers: {} };
  }
  return {
    status: statusOfReason[failure.reason] ?? statusOfKind[failure.kind],
    message: shownText(failure.message),
    reason: failure.reason,
    headers: headersOf(failure),
  };
}

/** The HTTP status that each kind has over REST. */
export const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  failed_precondition: 409,
  already_exists: 409,
  aborted: 409,
  resource_exhausted: 429,
  deadline_exceeded: 504,
  unavailable: 503,
  unimplemented: 501,
  internal: 500,
};

/** Where HTTP knows a more telling status than the kind has. */
const statusOfReason: Partial<Record<ReasonName, number>> = {
  API_KEY_NOT_BOUND_TO_USER: 422,
  METHOD_NOT_ALLOWED: 405,
  MESSAGE_TOO_LARGE: 413,
  UNSUPPORTED_CONTENT_TYPE: 415,
  UPSTREAM_UNREACHABLE: 502,
  UPSTREAM_TOO_LARGE: 502,
  CREDENTIAL_REFLECTED: 502,
};

function headersOf(failure: ServiceError): Record<string, string> {
  const challenge = failure.kind === "unauthenticated" ? { "www-authenticate": "Bearer" } : {};
  return { ...challenge, ...failure.headers };
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "AbortError";
}
