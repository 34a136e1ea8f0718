import { ServiceError } from "#src/platform/errors.ts";

/** The caller's organisation has no such channel. */
export class ChannelNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such channel; list them with GET /api/event-channels";
}
