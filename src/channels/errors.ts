import { ServiceError } from "#src/platform/errors.ts";

/** There is nothing to read from its beginning. */
export class ChannelHasNoSource extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "CHANNEL_HAS_NO_SOURCE";
  override readonly message =
    "others send to this channel, so it has no source to begin anew; what it received is read by number";
}

/** The caller's organisation has no such channel. */
export class ChannelNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such channel; list them with GET /api/event-channels";
}
