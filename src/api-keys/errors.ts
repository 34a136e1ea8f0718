import { ServiceError } from "#src/platform/errors.ts";
import type { Environment } from "#src/platform/caller.ts";

/** No key, a malformed one, an unknown one, or a revoked one: the caller is not told which. */
export class InvalidBearer extends ServiceError {
  readonly kind = "unauthenticated";
  readonly reason = "INVALID_BEARER";

  constructor() {
    super("missing or invalid Bearer");
  }
}

/** The key's own end has come. */
export class KeyExpired extends ServiceError {
  readonly kind = "unauthenticated";
  readonly reason = "KEY_EXPIRED";

  constructor() {
    super("key expired");
  }
}

/** The key belongs to the other environment. */
export class WrongEnvironment extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "WRONG_ENVIRONMENT";

  constructor(key: Environment, endpoint: Environment) {
    super(`key is ${key}; endpoint is ${endpoint}`);
  }
}

/** The caller's key lacks what the call, or what the call would hand out, needs. */
export class MissingScope extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "MISSING_SCOPE";
  override readonly metadata: Readonly<Record<string, string>>;

  constructor(scope: string) {
    super(`missing scope: ${scope}`);
    this.metadata = { scope };
  }
}

/** A four-eyes method was called with a key that no user answers for. */
export class ApiKeyNotBoundToUser extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "API_KEY_NOT_BOUND_TO_USER";

  constructor() {
    super("api_key_not_bound_to_user");
  }
}

/** The caller's organisation has no such key. */
export class ApiKeyNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";

  constructor() {
    super("no such api key; list them with GET /api/api-keys");
  }
}

/** The key exists, and its owner ended it. */
export class ApiKeyRevoked extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "API_KEY_REVOKED";
  override readonly metadata: Readonly<Record<string, string>>;

  constructor(id: string) {
    super(`api key ${id} is revoked and can no longer be changed; issue a new one`);
    this.metadata = { id };
  }
}

/** The key's own end has come, so a new secret of it would be good for nothing. */
export class ApiKeyExpired extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "API_KEY_EXPIRED";
  override readonly metadata: Readonly<Record<string, string>>;

  constructor(id: string) {
    super(`api key ${id} is expired; give it a later expiresAt first, or issue a new one`);
    this.metadata = { id };
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

/** A key tried to change what it may do or who answers for it. */
export class SelfModification extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "SELF_MODIFICATION";

  constructor() {
    super("a key can change only its own name; for the rest, use another key with api:manage");
  }
}

/** The field is fixed when the key is issued. */
export class ImmutableField extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "IMMUTABLE_FIELD";

  constructor(field: string) {
    super(
      `${field} cannot be changed; change one of name, scopes, actAsUserId, expiresAt, rateLimitPerMinute, or issue a new key`,
    );
  }
}

/** The user that a key should be bound to is unknown or deactivated. */
export class UnknownUser extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "UNKNOWN_USER";

  constructor() {
    super("actAsUserId names no active user of your organisation");
  }
}
