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

/** How senders prove themselves is for good: another secret would go with it. */
export class ImmutableAuthentication extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "IMMUTABLE_FIELD";
  override readonly message =
    "receiver.authentication cannot be changed: leave it out, or make another channel";
}

/** Too many rotations have a grace that is not over. */
export class TooManyChannelSecrets extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "TOO_MANY_SECRETS";

  constructor(most: number) {
    super(
      `the channel has ${most} secrets that are still good; wait for a grace to end, or give graceSeconds 0`,
    );
  }
}

/** A sender's event breaks a rule; nothing of its request was stored. */
export class InvalidEvent extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_EVENT";

  constructor(what: string, place = "") {
    super(`${place}${what}; nothing was stored`);
  }
}

/** The body is of a type, or encoded in a way, that the channel does not read. */
export class UnreadBody extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "UNSUPPORTED_CONTENT_TYPE";
}

/** No channel takes requests at this address. The same whether its id or its secret segment is wrong. */
export class AddressUnknown extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message =
    "no channel takes events at this address; it is in the answer of POST /api/event-channels, and may end in a secret segment";
}

/** The request does not prove who sent it; which of the reasons for that it is, a sender must not learn. */
export class UnknownSender extends ServiceError {
  readonly kind = "unauthenticated";
  readonly reason = "UNKNOWN_SENDER";

  constructor() {
    super(
      "the request does not prove that it is from the channel's sender: its signature, or what else it must show, is missing, wrong or too old",
      { headers: { "www-authenticate": "Webhook" } },
    );
  }
}

/** The channel's address does not take this HTTP method. */
export class MethodNotTaken extends ServiceError {
  readonly kind = "unimplemented";
  readonly reason = "METHOD_NOT_ALLOWED";

  constructor() {
    super("a channel takes events by POST", { headers: { allow: "POST" } });
  }
}

/** The body is longer than the channel takes. */
export class BodyTooLarge extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "MESSAGE_TOO_LARGE";

  constructor(maxBytes: number) {
    super(`the body is longer than ${maxBytes} bytes, the channel's maxBodyBytes; nothing was stored`);
  }
}

/** The body did not come in time. */
export class SenderTooSlow extends ServiceError {
  readonly kind = "deadline_exceeded";
  readonly reason = "SENDER_TOO_SLOW";

  constructor(seconds: number) {
    super(`the body did not come within ${seconds} s; nothing was stored`);
  }
}

/** The event was sent on too often, and comes back to where it was. */
export class LoopDetected extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "LOOP_DETECTED";

  constructor(most: number) {
    super(
      `the event was sent on more than ${most} times: a webhook sends it back to where it came from; nothing was stored`,
    );
  }
}

/** A sender asks for leave to send, and is none that the channel lists. */
export class OriginNotAllowed extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "ORIGIN_NOT_ALLOWED";
  override readonly message = "this origin may not send here: add it to the channel's allowedOrigins";
}
