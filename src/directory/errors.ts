import { ServiceError } from "#src/platform/errors.ts";

/** The caller's organisation has no such user. */
export class UserNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such user; list them with GET /api/users";
}

/** The email belongs to another person, by the external id. */
export class UserConflict extends ServiceError {
  readonly kind = "already_exists";
  readonly reason = "USER_CONFLICT";

  constructor(id: string) {
    super(
      `email: belongs to user ${id}, who is known by another externalId or none; send that externalId, or first ` +
        "give that user another email",
      { metadata: { id } },
    );
  }
}

/** A key tried to make its own user active again, and so to bind itself to an active user. */
export class SelfReactivation extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "SELF_MODIFICATION";
  override readonly message =
    "a key cannot make active again the user that it is bound to; use another key with directory:write";
}
