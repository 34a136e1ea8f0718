import { ServiceError } from "#src/platform/errors.ts";

/** The slug is neither a sibling product's nor a well-formed custom one. */
export class InvalidSlug extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_SLUG";

  constructor(builtIn: readonly string[]) {
    super(
      `serviceSlug: give one of ${builtIn.join(", ")}, or custom:<slug> ` +
        "with lower-case letters, digits and hyphens, at most 63",
    );
  }
}
