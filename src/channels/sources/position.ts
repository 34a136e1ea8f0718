/** How far a source was read. Empty before its first turn. */
export interface Position {
  /** Of a stream. */
  readonly stream?: StreamPosition;
  /** Of a list. */
  readonly poll?: PollPosition;
}

/** Where a stream goes on. */
export interface StreamPosition {
  /** Undefined if the stream gave none: then what comes while it is not read is missed. */
  readonly lastId?: string;
  /** Up to when it is known to have been read. */
  readonly readUntil: string;
  /** What the stream asked to wait before it is opened again. */
  readonly retryMs?: number;
}

/** Where a list goes on. */
export interface PollPosition {
  /** Of the newest item that was read. */
  readonly cursor?: string;
  /** Marks of what was on the list when it was read to its end the last time, so that only what is new is taken. */
  readonly seen: string;
  /** When it was read to its end. */
  readonly readUntil?: string;
  /** A walk over pages that goes on in the next turn. */
  readonly walk?: Walk;
  readonly validators?: Validators;
}

/** Pages that are read one after another, over several turns if they are many. */
export interface Walk {
  /** The page to read next, as path and query behind the origin. */
  readonly next: string;
  /** The cursor of the newest item that it came by. */
  readonly newest?: string;
  /** Marks of what it came by. */
  readonly seen: string;
  /** Whether it came by something that was seen before. */
  readonly meetsSeen: boolean;
  /** How many turns in a row came by nothing that it had not passed before. */
  readonly idleTurns: number;
}

/** What asks a server to answer only if something changed. */
export interface Validators {
  /** What they were given for. */
  readonly url: string;
  readonly etag?: string;
  readonly lastModified?: string;
  /** How many turns in a row asked with them. */
  readonly turns: number;
  /** When it was asked without them. */
  readonly unconditionalAt: string;
}
