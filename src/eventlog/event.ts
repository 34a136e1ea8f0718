/** An event as it comes in: the attributes of CloudEvents 1.0, and the data as the bytes that came. */
export interface NewEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject?: string | undefined;
  /** RFC 3339, as the sender wrote it. */
  readonly time?: string | undefined;
  readonly contentType?: string | undefined;
  /** Further attributes, by their names. */
  readonly extensions: Readonly<Record<string, string>>;
  /** The scheme by which the sender was known, or `none`. */
  readonly verified: string;
  /** The JSON Pointers, parted by blanks, of secrets that were masked in the data; `*` is each item of a list. */
  readonly masked?: string | undefined;
  /** Undefined for an event without data. Never parsed and written again. */
  readonly data: Buffer | undefined;
}

/** An event of a log. */
export interface LoggedEvent extends NewEvent {
  readonly orgId: string;
  /** The id of a channel, `service` or `audit`. */
  readonly log: string;
  readonly seq: number;
  readonly receivedAt: Date;
  /**
   * By what it can be selected, the narrowest first. More than one for a record of the audit log only, which is an
   * `audit.<action>` and may also be known by a name of its own, such as `api_key.rotated`.
   */
  readonly types: readonly string[];
}

/** The log of what this service records of changes: the audit log itself. */
export const auditLog = "audit";
/** The log of what this service says of itself beside that. */
export const serviceLog = "service";

/** Whether it is a log of this service's own, and not of what others sent. */
export function isOwnLog(log: string): boolean {
  return log === auditLog || log === serviceLog;
}
