import { ServiceError } from "#src/platform/errors.ts";

/** The caller's key lacks a scope that the call needs, or that the call would give to another key. */
export class MissingScope extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "MISSING_SCOPE";

  constructor(scope: string) {
    super(`missing scope: ${scope}`, { metadata: { scope } });
  }
}

/** What the caller wants to do is beyond its key's rights to connections. */
export class ConnectionNotAllowed extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "CONNECTION_NOT_ALLOWED";
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

/** The key's own end has come, so a new secret would be of no use. */
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

/** The newest secret was to be replaced as one that never arrived, but it did arrive. */
export class SecretInUse extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "SECRET_IN_USE";

  constructor(id: string, why: "has been used" | "is the imported one") {
    super(`the newest secret of api key ${id} ${why}, so it was not lost; rotate without replaceUnused`, {
      metadata: { id },
    });
  }
}

/** The key was imported already. The answer does not say by which organisation: it may be another one. */
export class KeyAlreadyImported extends ServiceError {
  readonly kind = "already_exists";
  readonly reason = "KEY_ALREADY_IMPORTED";
  override readonly message =
    "the key is known here already; if your organisation imported it, GET /api/api-keys lists it";
}

/** The key is the credential of a connection, and can be changed only through it. */
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

/** The caller asked for a service principal. */
export class CallerServiceReserved extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "CALLER_SERVICE_RESERVED";
  override readonly message =
    "callerServiceSlug: only Patchbay itself issues service principals, when a built-in service is connected " +
    "without an apiKey; leave it out";
}

/** A key tried to change its own rights or its own user. */
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
      `${field} cannot be changed; change one of name, scopes, actAsUserId, expiresAt, rateLimitPerMinute, allowedCidrs, metadata, connections, or issue a new key`,
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
