import { ServiceError } from "#src/platform/errors.ts";

/** A query parameter that has no one way to be written in a URL. */
export class InvalidCall extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_OUTBOUND_REQUEST";
}
