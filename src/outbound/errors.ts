import { ServiceError } from "#src/platform/errors.ts";

/** How far a call got before it failed. In the queue, it waits in this service for other calls. */
export type Stage = "QUEUE" | "DNS" | "TCP" | "TLS" | "HTTP";

/** The base URL cannot be used for calls, now or later. */
export class InvalidBaseUrl extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_BASE_URL";

  constructor(problem: string) {
    super(`baseUrl: ${problem}`);
  }
}

/** The path could be read as another path. */
export class InvalidPath extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_PATH";

  constructor(problem: string) {
    super(`path: ${problem}`);
  }
}

/** The method, a header, the query, the body or the credential cannot be sent as it is. */
export class InvalidOutboundRequest extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_OUTBOUND_REQUEST";
}

/**
 * The host is, or resolves to, an address that this deployment may not call. Names the host as the caller
 * wrote it and never the address behind it, which would map our network for the caller.
 */
export class AddressDenied extends ServiceError {
  readonly kind: "permission_denied" | "invalid_argument";
  readonly reason = "ADDRESS_DENIED";

  /** `invalid_argument` is for a base URL that is being saved: there it is the input that is wrong. */
  constructor(host: string, kind: "permission_denied" | "invalid_argument" = "permission_denied") {
    super(
      `${host} may not be called from here: outside the public internet only what PATCHBAY_OUTBOUND_ALLOW ` +
        "names is called, and link-local, metadata and multicast addresses never are",
    );
    this.kind = kind;
  }
}

/** Where a call stood when it failed. */
export interface Progress {
  readonly stage: Stage;
  /** The service's status, once its answer has begun. */
  readonly status?: number | undefined;
}

/** The call to the service failed; the text begins with the stage. */
abstract class UpstreamFailure extends ServiceError {
  override readonly metadata;

  constructor(host: string, problem: string, { stage, status }: Progress) {
    super(`${stage}: ${host} ${problem}${answeredWith(status)}`);
    this.metadata = { stage, ...statusOf(status) };
  }
}

/** The service could not be reached, broke off, or answered with something that is not HTTP. */
export class UpstreamUnreachable extends UpstreamFailure {
  readonly kind = "unavailable";
  readonly reason = "UPSTREAM_UNREACHABLE";
  /** Whether another try may soon go well: the service restarts, or a socket broke. */
  readonly isTransient: boolean;

  constructor(host: string, problem: string, progress: Progress, isTransient = false) {
    super(host, problem, progress);
    this.isTransient = isTransient;
  }
}

/** The service did not answer in time. */
export class UpstreamTimeout extends UpstreamFailure {
  readonly kind = "deadline_exceeded";
  readonly reason = "UPSTREAM_TIMEOUT";
}

/** The service's answer is larger than what we take. */
export class UpstreamTooLarge extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "UPSTREAM_TOO_LARGE";
  override readonly metadata;

  constructor(host: string, problem: string, status: number | undefined) {
    super(`${host} ${problem}${answeredWith(status)}`);
    this.metadata = { ...statusOf(status) };
  }
}

/** The answer holds the credential that was sent, so the caller does not get it. */
export class CredentialReflected extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "CREDENTIAL_REFLECTED";
  override readonly metadata;
  readonly status: number;

  constructor(host: string, status: number) {
    super(
      `${host} repeated the stored credential in its answer, which is withheld; ` +
        `call an endpoint that does not echo request headers${answeredWith(status)}`,
    );
    this.status = status;
    this.metadata = { ...statusOf(status) };
  }
}

/** No more calls of the share may wait. This one was not sent. */
export class TooManyCalls extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "TOO_MANY_CALLS";
  override readonly headers = { "retry-after": "1" };

  constructor(host: string) {
    super(
      `${host} is not called: too many calls of your organisation wait for earlier ones to end; ` +
        "make fewer at a time",
    );
  }
}

/** Once a service has answered, the caller must learn that: the call may have taken effect. */
function answeredWith(status: number | undefined): string {
  return status === undefined ? "" : `; it answered with status ${status}, so the call was made`;
}

function statusOf(status: number | undefined): Record<string, string> {
  return status === undefined ? {} : { upstream_status: String(status) };
}
