import { ServiceError } from "#src/platform/errors.ts";

/**
 * A statement that Postgres refused, without any value: the driver's own error carries the parameters, and
 * the server's text and detail quote them.
 */
export class DatabaseError extends Error {
  override readonly name = "DatabaseError";
  /** The SQLSTATE, see https://www.postgresql.org/docs/current/errcodes-appendix.html. */
  readonly code: string;
  readonly constraint: string | undefined;
  readonly table: string | undefined;

  constructor(
    code: string,
    text: string | undefined,
    constraint: string | undefined,
    table: string | undefined,
  ) {
    const where = [table && `table ${table}`, constraint && `constraint ${constraint}`]
      .filter(Boolean)
      .join(", ");
    super(`database error ${code}${where && ` (${where})`}${text === undefined ? "" : `: ${text}`}`);
    this.code = code;
    this.constraint = constraint;
    this.table = table;
  }
}

/** The connection ended, or was ended by us, before the answer came. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  /** The server's SQLSTATE or the system's error code, where there was one. */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

type Outcome = "nothing was changed" | "unknown";

/** The database cannot be reached, is too busy, or was lost while it committed. */
export class DatabaseUnavailable extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "DATABASE_UNAVAILABLE";

  private constructor(message: string, outcome: Outcome, cause: unknown) {
    // A client must not repeat automatically what may have been done.
    const headers = outcome === "unknown" ? {} : { "retry-after": "1" };
    super(message, { metadata: { outcome }, headers, cause });
  }

  static unreachable(cause: unknown): DatabaseUnavailable {
    const message = "the database cannot be reached and nothing was changed: try again in a moment";
    return new DatabaseUnavailable(message, "nothing was changed", cause);
  }

  static busy(cause: unknown): DatabaseUnavailable {
    const message = "the database is too busy and nothing was changed: try again in a moment";
    return new DatabaseUnavailable(message, "nothing was changed", cause);
  }

  /** Its disk is full: waiting alone will not help. */
  static full(cause: unknown): DatabaseUnavailable {
    const message =
      "the database has no room left and nothing was changed: try again once its operator has made some";
    return new DatabaseUnavailable(message, "nothing was changed", cause);
  }

  /** The connection was lost in COMMIT, so it is unknown whether the change was made. */
  static inDoubt(cause: unknown): DatabaseUnavailable {
    const message =
      "the database was lost while it stored the change, so it is not known whether the change was made: " +
      "look before you repeat it";
    return new DatabaseUnavailable(message, "unknown", cause);
  }
}

/** The organisation's share of the pool is taken by its own earlier calls. */
export class TooManyCallsWait extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "TOO_MANY_CALLS";

  constructor() {
    super(
      "too many calls of your organisation wait for the database, and nothing was changed: try again in a moment, " +
        "and make fewer at a time",
      { headers: { "retry-after": "1" } },
    );
  }
}

/** Whether the statement broke this unique index or constraint. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  return error instanceof DatabaseError && error.code === "23505" && error.constraint === constraint;
}

/** Whether the server had no room on its disk for what the statement would have written. */
export function isDiskFull(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.code === "53100";
}

// Cancelled by a timeout, lost a race for locks, or out of room: the transaction is rolled back, and may succeed
// later.
const passing = new Set(["57014", "55P03", "40001", "40P01"]);

/** The error that callers get: a problem that passes by itself becomes an answer that says to try again. */
export function toServiceError(error: unknown): unknown {
  if (error instanceof ConnectionLost) return DatabaseUnavailable.unreachable(error);
  if (isDiskFull(error)) return DatabaseUnavailable.full(error);
  if (error instanceof DatabaseError && (passing.has(error.code) || error.code.startsWith("53"))) {
    return DatabaseUnavailable.busy(error);
  }
  return error;
}

/** The driver's error without values, by kind: a refused statement, a lost connection, or our own mistake. */
export function fromDriver(error: unknown): Error {
  if (error instanceof ConnectionLost) return error;
  const { code, severity, message, constraint_name, table_name } = error as Record<
    string,
    string | undefined
  >;
  if (severity === undefined) {
    const unsendable = error instanceof TypeError || error instanceof RangeError || misuses.has(code ?? "");
    if (unsendable) return new Error(`a statement could not be sent: ${code ?? (error as Error).name}`);
    return new ConnectionLost(`the connection to Postgres failed: ${code ?? "unknown"}`, code);
  }
  const text = code !== undefined && message !== undefined && quotesNoValue(code) ? message : undefined;
  if (severity === "FATAL" || severity === "PANIC") {
    return new ConnectionLost(
      `Postgres closed the connection: ${code}${text === undefined ? "" : ` ${text}`}`,
      code,
    );
  }
  return new DatabaseError(code ?? "unknown", text, constraint_name, table_name);
}

const misuses = new Set(["UNDEFINED_VALUE", "MAX_PARAMETERS_EXCEEDED", "NOT_TAGGED_CALL"]);

// Classes whose texts quote names only (of roles, tables, functions), and ours; see drizzle/.
const named = ["25", "28", "3D", "40", "42", "53", "55", "57", "PB"];

function quotesNoValue(code: string): boolean {
  return named.some((start) => code.startsWith(start));
}
