import { ServiceError } from "#src/platform/errors.ts";

/** Nothing can be taken in right now. Nothing was stored, or it is in doubt: sent again with its id, it is stored once. */
export class IntakeUnavailable extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "INTAKE_UNAVAILABLE";

  constructor(why: string, cause?: unknown) {
    super(`${why}; send the event again`, {
      headers: { "retry-after": "1" },
      ...(cause !== undefined && { cause }),
    });
  }
}

/** The log does not exist, or not for this organisation. */
export class LogNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "LOG_NOT_FOUND";

  constructor() {
    super("log not found; GET /api/event-channels lists channels, and there are the logs audit and service");
  }
}

/** The reader asks for what is no longer kept. */
export class CursorExpired extends ServiceError {
  readonly kind = "out_of_range";
  readonly reason = "CURSOR_EXPIRED";

  constructor(log: string, earliest: number) {
    super(
      `events of ${log} before number ${earliest} are no longer kept; go on from ${earliest}, and count what lies before as missed`,
      { metadata: { log, earliest: String(earliest) } },
    );
  }
}
