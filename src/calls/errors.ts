import { ServiceError } from "#src/platform/errors.ts";

/** A query parameter that cannot be written in a URL in exactly one way. */
export class InvalidCall extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_OUTBOUND_REQUEST";
}
