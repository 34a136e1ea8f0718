import { ServiceError } from "#src/platform/errors.ts";

/** The log has no event of this number, or none that the caller may see. */
export class EventNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";

  constructor(log: string) {
    super(`no such event; list them with GET /api/events?log=${log}`);
  }
}

/** The reader's position is of a log that it does not read. */
export class CursorOfOtherLog extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "CURSOR_OF_OTHER_LOG";

  constructor(log: string) {
    super(
      `the position is one of the log ${log}, and numbers of one log say nothing of another; ask for that log, or leave the position out`,
      { metadata: { log } },
    );
  }
}

/** The reader's position is beyond the end of the log. */
export class CursorAhead extends ServiceError {
  readonly kind = "out_of_range";
  readonly reason = "CURSOR_AHEAD";

  constructor(log: string, last: number) {
    super(
      `the last event of ${log} is number ${last}; the position lies beyond it, so it is not one of this log; go on from ${last}`,
      { metadata: { log, last: String(last) } },
    );
  }
}

/** The stream is over, through no fault of its reader's position. */
export class StreamEnded extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "STREAM_ENDED";

  constructor(why: string) {
    super(`${why}; call again with the last positions`, { headers: { "retry-after": "1" } });
  }
}
