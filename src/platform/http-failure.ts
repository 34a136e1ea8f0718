import type { ErrorKind, ReasonName, ServiceError } from "./errors.ts";

/** How a failure looks over HTTP: in the answers of the REST paths, and in those of the guards before them. */
export interface HttpFailure {
  readonly status: number;
  readonly message: string;
  readonly reason: ReasonName;
  readonly headers: Readonly<Record<string, string>>;
}

/** The failure in the form that HTTP sends. */
export function httpFailureOf(failure: ServiceError): HttpFailure {
  return {
    status: statusOfReason[failure.reason] ?? statusOfKind[failure.kind],
    message: shownText(failure.message),
    reason: failure.reason,
    headers: headersOf(failure),
  };
}

/** The HTTP status that each kind has. */
const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  failed_precondition: 409,
  already_exists: 409,
  resource_exhausted: 429,
  out_of_range: 400,
  deadline_exceeded: 504,
  unavailable: 503,
  unimplemented: 501,
  internal: 500,
};

/** Where HTTP has a more precise status than that of the kind. */
const statusOfReason: Partial<Record<ReasonName, number>> = {
  API_KEY_NOT_BOUND_TO_USER: 422,
  METHOD_NOT_ALLOWED: 405,
  MESSAGE_TOO_LARGE: 413,
  UNSUPPORTED_CONTENT_TYPE: 415,
  SENDER_TOO_SLOW: 408,
  OVERLOADED: 503,
  UPSTREAM_UNREACHABLE: 502,
  UPSTREAM_TOO_LARGE: 502,
  CREDENTIAL_REFLECTED: 502,
  LOOP_DETECTED: 508,
};

/** What the answer's headers say of the failure, on every protocol. */
export function headersOf(failure: ServiceError): Record<string, string> {
  const challenge = failure.kind === "unauthenticated" ? { "www-authenticate": "Bearer" } : {};
  return { ...challenge, ...failure.headers };
}

/**
 * What fits into a header, in text that can be encoded there: over gRPC the message is a trailer, and one that
 * is too large, or no Unicode, would end the caller's whole connection.
 */
export function shownText(message: string): string {
  const whole = message.toWellFormed();
  return whole.length <= maxMessageLength ? whole : `${whole.slice(0, maxMessageLength).toWellFormed()}…`;
}

const maxMessageLength = 1_000;
