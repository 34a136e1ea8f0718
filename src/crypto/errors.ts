import { ServiceError } from "#src/platform/errors.ts";

/** Whatever keeps the root key failed, or did not answer in time: nothing can be sealed or opened without it. */
export class RootKeyUnavailable extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "ROOT_KEY_UNAVAILABLE";

  constructor(cause: unknown) {
    super(
      "the root key cannot be reached, so no credential can be sealed or opened, and nothing was done: " +
        "try again in a moment",
    );
    this.cause = cause;
  }
}

/** The organisation's key that this was sealed with is destroyed, for good. */
export class KeyDestroyed extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "KEY_DESTROYED";
  override readonly message =
    "the key of your organisation that this was sealed with was destroyed, so nothing opens it any more: " +
    "store the secret again, or ask whoever runs Patchbay whether the organisation was shredded";
}

/** A key was wrapped by a root key that is not configured here. */
export class RootKeyMissing extends Error {
  override readonly name = "RootKeyMissing";

  constructor(needed: string, given: readonly string[]) {
    super(
      `a key is wrapped by the root key ${needed}, and configured is ${given.join(" and ")}: give the other one as ` +
        "PATCHBAY_SECOND_ROOT_KEY or PATCHBAY_SECOND_ROOT_KEY_FILE, until `patchbay admin rewrap-root` has wrapped all anew",
    );
  }
}
