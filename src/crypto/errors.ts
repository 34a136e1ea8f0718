import { ServiceError } from "#src/platform/errors.ts";

/** Whatever keeps the root key failed, or did not answer in time: nothing can be sealed or opened without it. */
export class RootKeyUnavailable extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "ROOT_KEY_UNAVAILABLE";

  constructor(cause: unknown, problem = "cannot be reached", advice = "try again in a moment") {
    super(
      `the root key ${problem}, so no credential can be sealed or opened, and nothing was done: ${advice}`,
    );
    this.cause = cause;
  }
}

/**
 * Whatever keeps the root key answers, and refuses to use it: trying again changes nothing. What the operator must do
 * stands in the cause, for the log; the callers of the service are told that there is something to do.
 */
export class RootKeyRefused extends RootKeyUnavailable {
  constructor(problem: string) {
    super(
      new Error(problem),
      "may not be used",
      "whoever runs this deployment finds in its log what must be changed",
    );
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
        "PATCHBAY_SECOND_ROOT_KEY, or by its _FILE or _URL, until `patchbay admin rewrap-root` has wrapped all anew",
    );
  }
}
