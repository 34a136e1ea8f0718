import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, type ErrorInfo } from "#gen/google/rpc/error_details_pb.js";
import { ServiceError, type ErrorKind } from "#src/platform/errors.ts";
import { headersOf, httpFailureOf, shownText, type HttpFailure } from "#src/platform/http-failure.ts";

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
  resource_exhausted: Code.ResourceExhausted,
  out_of_range: Code.OutOfRange,
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
  override readonly message = "the call took longer than its deadline; whether it took effect is unknown";
}

/**
 * Anything thrown, as one of our own failures or the protocol's own cancellation. Fails closed: what is unknown is
 * internal.
 */
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

/** What programs read of a failure. */
function errorInfoOf(failure: ServiceError): ErrorInfo {
  return create(ErrorInfoSchema, { domain, reason: failure.reason, metadata: { ...failure.metadata } });
}

/** The client went away and does not read the status, but the log shows it (nginx's convention). */
const clientClosedRequest = 499;

/** The failure in the form that REST sends. */
export function toHttpFailure(thrown: unknown): HttpFailure {
  const failure = asFailure(thrown);
  if (failure instanceof ServiceError) return httpFailureOf(failure);
  if (failure.cause instanceof ServiceError) return httpFailureOf(failure.cause);
  return { status: clientClosedRequest, message: failure.rawMessage, reason: "CANCELED", headers: {} };
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "AbortError";
}
