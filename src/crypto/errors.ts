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
