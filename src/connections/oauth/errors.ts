import { ServiceError } from "#src/platform/errors.ts";

/** A person has to connect the service, for the first time or again. */
export class AuthorizationNeeded extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "AUTHORIZATION_NEEDED";
  override readonly metadata;

  constructor(id: string, why: string) {
    super(
      `connection ${id} ${why}; have a person connect it: POST /api/connections/${id}/authorize answers ` +
        "a link for that",
    );
    this.metadata = { connection_id: id };
  }
}

/** The authorization could not be begun or completed. */
export class AuthorizationFailed extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "AUTHORIZATION_FAILED";
}

/** The access token is over, and no new one could be had for now. */
export class RefreshFailed extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "REFRESH_FAILED";
  override readonly metadata;
  override readonly headers;

  constructor(id: string, why: string, retryAfterSeconds: number) {
    super(`connection ${id} has no access token now: ${why}; try again in ${retryAfterSeconds} s`);
    this.metadata = { connection_id: id };
    this.headers = { "retry-after": String(retryAfterSeconds) };
  }
}
