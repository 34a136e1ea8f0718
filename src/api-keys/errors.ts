import { ServiceError } from "#src/platform/errors.ts";

/** The caller's key lacks what the call, or what the call would hand out, needs. */
export class MissingScope extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "MISSING_SCOPE";

  constructor(scope: string) {
    super(`missing scope: ${scope}`, { metadata: { scope } });
  }
}

/** The caller's organisation has no such key. */
export class ApiKeyNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such api key; list them with GET /api/api-keys";
}

/** The key exists, and its owner ended it. */
export class ApiKeyRevoked extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "API_KEY_REVOKED";

  constructor(id: string) {
    super(`api key ${id} is revoked and can no longer be changed; issue a new one`, { metadata: { id } });
  }
}

/** The key's own end has come, so a new secret of it would be good for nothing. */
export class ApiKeyExpired extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "API_KEY_EXPIRED";

  constructor(id: string) {
    super(`api key ${id} is expired; give it a later expiresAt first, or issue a new one`, {
      metadata: { id },
    });
  }
}

/** The key was rotated again and again within the grace of earlier rotations. */
export class TooManySecrets extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "TOO_MANY_SECRETS";

  constructor(most: number) {
    super(
      `the key has ${most} secrets that are still good; wait for a grace to end, or end it with end-grace`,
    );
  }
}

/** The newest secret was to be replaced as one that never arrived, and somebody has it. */
export class SecretInUse extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "SECRET_IN_USE";

  constructor(id: string, why: "has been used" | "is the imported one") {
    super(`the newest secret of api key ${id} ${why}, so it was not lost; rotate without replaceUnused`, {
      metadata: { id },
    });
  }
}

/** Somebody has this key already. Who, and since when, is not said: it may be another organisation. */
export class KeyAlreadyImported extends ServiceError {
  readonly kind = "already_exists";
  readonly reason = "KEY_ALREADY_IMPORTED";
  override readonly message =
    "the key is known here already; if your organisation imported it, GET /api/api-keys lists it";
}

/** The key is the credential of a connection, and nobody else's to change. */
export class ServicePrincipalKey extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "SERVICE_PRINCIPAL";

  constructor(id: string) {
    super(
      `api key ${id} belongs to a connection; connect the service again to change it; only its ` +
        "rateLimitPerMinute is changed here",
      { metadata: { id } },
    );
  }
}

/** Somebody asked for a service principal. */
export class CallerServiceReserved extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "CALLER_SERVICE_RESERVED";
  override readonly message =
    "callerServiceSlug: only Patchbay itself issues service principals, when a built-in service is connected " +
    "without an apiKey; leave it out";
}

/** A key tried to change what it may do or who answers for it. */
export class SelfModification extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "SELF_MODIFICATION";
  override readonly message =
    "a key can change only its own name; for the rest, use another key with api:manage";
}

/** The field is fixed when the key is issued. */
export class ImmutableField extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "IMMUTABLE_FIELD";

  constructor(field: string) {
    super(
      `${field} cannot be changed; change one of name, scopes, actAsUserId, expiresAt, rateLimitPerMinute, allowedCidrs, metadata, or issue a new key`,
    );
  }
}

/** The user that a key should be bound to is unknown or deactivated. */
export class UnknownUser extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "UNKNOWN_USER";
  override readonly message =
    "actAsUserId names no active user of your organisation; register the person with POST /api/users";
}
