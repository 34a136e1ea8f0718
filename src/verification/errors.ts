import type { Environment } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";

/** What is wrong with a presented key, for records and for verifying services. */
export type InvalidBecause = "malformed" | "unknown" | "retired" | "revoked" | "wrong caller service";

/** No key, a malformed one, an unknown one, or a revoked one: the answer does not say which. */
export class InvalidBearer extends ServiceError {
  readonly kind = "unauthenticated";
  readonly reason = "INVALID_BEARER";
  /** Not shown: it would tell a guesser more than a yes or no. */
  readonly because: InvalidBecause;

  constructor(because: InvalidBecause) {
    super("missing or invalid Bearer");
    this.because = because;
  }
}

/** The key's own end has come. */
export class KeyExpired extends ServiceError {
  readonly kind = "unauthenticated";
  readonly reason = "KEY_EXPIRED";
  override readonly message = "key expired";
}

/** The key belongs to the other environment. */
export class WrongEnvironment extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "WRONG_ENVIRONMENT";

  constructor(key: Environment, endpoint: Environment) {
    super(`key is ${key}; endpoint is ${endpoint}`);
  }
}

/** The key has a list of addresses, and the client's address is not on it, or not known. */
export class AddressNotAllowed extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "ADDRESS_NOT_ALLOWED";
  override readonly message = "key is not allowed from this address";
}

/** A four-eyes method was called with a key that no user answers for. */
export class ApiKeyNotBoundToUser extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "API_KEY_NOT_BOUND_TO_USER";
  override readonly message = "api_key_not_bound_to_user";
}

/** Four eyes need two people. */
export class FourEyesViolation extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "FOUR_EYES_VIOLATION";
  override readonly message = "four-eyes violation";
}
