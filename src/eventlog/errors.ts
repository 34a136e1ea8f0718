import { DatabaseUnavailable } from "#src/db/errors.ts";
import { ServiceError } from "#src/platform/errors.ts";

type Outcome = "nothing was stored" | "unknown";

/** Nothing can be taken in right now. Nothing was stored, or it is in doubt: sent again with its id, it is stored once. */
export class IntakeUnavailable extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "INTAKE_UNAVAILABLE";

  private constructor(why: string, outcome: Outcome, cause?: unknown) {
    super(`${why}: send the event again, with the same id`, {
      metadata: { outcome },
      headers: { "retry-after": "1" },
      ...(cause !== undefined && { cause }),
    });
  }

  static full(): IntakeUnavailable {
    return new IntakeUnavailable(
      "too many events wait to be stored, and nothing was stored",
      "nothing was stored",
    );
  }

  static late(): IntakeUnavailable {
    return new IntakeUnavailable(
      "the event could not be stored in time, and nothing was stored",
      "nothing was stored",
    );
  }

  static held(): IntakeUnavailable {
    return new IntakeUnavailable(
      "the channel is being changed, and nothing was stored",
      "nothing was stored",
    );
  }

  static inDoubt(cause?: unknown): IntakeUnavailable {
    return new IntakeUnavailable("it is not known whether the event was stored", "unknown", cause);
  }

  /** What a failure of the database means to a sender; what is none stays as it is. */
  static of(error: unknown): unknown {
    if (!(error instanceof DatabaseUnavailable)) return error;
    if (error.metadata["outcome"] === "unknown") return IntakeUnavailable.inDoubt(error);
    return new IntakeUnavailable(
      "the database is away or busy, and nothing was stored",
      "nothing was stored",
      error,
    );
  }
}

/** The organisation's events take as much room as they may. */
export class QuotaExhausted extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "QUOTA_EXHAUSTED";

  constructor(stored: number, limit: number) {
    super(
      `the events of your organisation take ${stored} of ${limit} bytes, and nothing was stored: shorten the retention ` +
        "of channels or delete some, have the operator raise --event-storage-mib, or wait until older events end",
      { metadata: { stored: String(stored), limit: String(limit) }, headers: { "retry-after": "60" } },
    );
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
