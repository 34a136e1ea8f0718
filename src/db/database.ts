import type { Log } from "#src/platform/log.ts";
import type { Tracing } from "#src/platform/tracing.ts";
import { within } from "#src/platform/within.ts";
import { openConnection, type Connection } from "./connection.ts";
import { ConnectionLost, DatabaseError, DatabaseUnavailable, isDiskFull, toServiceError } from "./errors.ts";
import { createNotifications, type Listener } from "./notifications.ts";
import { sql } from "./drizzle.cjs";
import { createPool, ownUse, type PoolLoad } from "./pool.ts";
import { servingRole } from "./serving-role.ts";
import { openTransaction, type Tx } from "./transaction.ts";

export type { Tx } from "./transaction.ts";

/** The only way to Postgres: each call is one transaction, as the role that owns nothing. */
export interface Database {
  /**
   * One organisation's rows, in a READ ONLY transaction: a read cannot change anything unaudited. All its
   * statements see the same moment, so what they read fits together.
   */
  read<T>(orgId: string, run: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * A change. It commits only if it appended at least one audit event; `return unchanged(value)` instead
   * rolls back and returns the value, if the wanted state turns out to exist already. Each of its statements sees what
   * is committed by then: lock first, and what is read after that stays so to the end.
   */
  change<T>(orgId: string, run: (tx: Tx) => Promise<T | Unchanged<T>>): Promise<T>;
  /** Bookkeeping that no caller asked for: last use, health results. Not audited. */
  record<T>(orgId: string, run: (tx: Tx) => Promise<T>): Promise<T>;
  /** No organisation: row security shows and takes nothing, so only SECURITY DEFINER functions are of use. */
  system<T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * One statement that is a READ ONLY transaction by itself, for questions so frequent that BEGIN and COMMIT would
   * cost too much. Like `system`, it belongs to no organisation; but if it is known which organisation asks, it waits
   * among that one's operations.
   */
  single<T>(run: (tx: Tx) => Promise<T>, askedBy?: string): Promise<T>;
  /** Notifies of changes from now on, made here or by other processes; waits for the first attempt to listen. */
  listen(listener: Listener): Promise<void>;
  /** Whether it answers: it did in the last moments, or does so now that it is asked. */
  answers(): Promise<boolean>;
  /** How busy its connections are. */
  load(): PoolLoad;
  /** Waits for running operations, refuses new ones. */
  close(): Promise<void>;
}

/** What a change returns when there was nothing to change. */
export class Unchanged<T> {
  readonly value: T;

  constructor(value: T) {
    this.value = value;
  }
}

/** Ends a change without one: everything it did is rolled back, and no audit event is due. */
export function unchanged<T>(value: T): Unchanged<T> {
  return new Unchanged(value);
}

/** Where the database is, and how long it may take. */
export interface DatabaseOptions {
  /** `postgres://…`, or `postgresql:///database?host=/socket/folder&user=me`. */
  readonly url: string;
  readonly log: Log;
  /** How many operations run at once. */
  readonly poolSize?: number;
  /** For all of an operation: a free connection, its opening, the transaction and its end. */
  readonly deadlineMs?: number;
  /** Shows the operations that are made for a request in its trace. */
  readonly tracing?: Pick<Tracing, "part"> | undefined;
}

/** How much of the deadline may pass in the queue: an operation that begins with less left would only fail later. */
const waitingPart = 0.75;
/**
 * How long the first answer may take while the database is silent: it left a question unanswered for a whole deadline,
 * and has answered nothing since. A call with several operations must not wait for the deadline in each of them.
 */
const silentMs = 500;
/** How long after a warning of a full disk the next one comes. */
const quietMs = 10_000;
/** The listening connection is heard each second. */
const heardMs = 1_500;
const answerMs = 1_000;
/** Statements end this long before the deadline: the server must end them, before their connection is closed. */
const marginMs = 250;

// The server's own deadlines are for what this side cannot see: a connection that died silently.
const serverDeadlines = {
  statement_timeout: 4_000,
  lock_timeout: 3_000,
  idle_in_transaction_session_timeout: 5_000,
};

/** Opens nothing yet: the first operation connects. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, log, poolSize = 10, deadlineMs = 4_500, tracing } = options;
  const session = {
    application_name: "patchbay",
    DateStyle: "ISO",
    TimeZone: "UTC",
    role: servingRole,
    // For `single`, which has no BEGIN that could say so: a change there would have no audit event.
    default_transaction_read_only: "on",
    ...serverDeadlines,
  };
  let silent = false;
  let quietUntil = 0;
  let answeredAt = -Infinity;
  const heard = (): void => {
    silent = false;
    answeredAt = performance.now();
  };
  const pool = createPool(poolSize, () => openConnection(url, session));
  const notifications = createNotifications({
    answered: heard,
    open: (onNotify) => openConnection(url, { ...session, application_name: "patchbay listener" }, onNotify),
    log,
  });

  /** Runs the work on a connection of the pool, all within one deadline. */
  function onConnection<T>(
    kind: Kind | "single",
    orgId: string,
    work: (operation: Operation) => Promise<T>,
  ): Promise<T> {
    if (tracing === undefined) return withLease(orgId, work);
    return tracing.part("client", `database ${kind}`, (span) =>
      withLease(orgId, work, (waitedMs) => {
        span?.note({ "db.system.name": "postgresql", "patchbay.waited_ms": Math.round(waitedMs) });
      }),
    );
  }

  async function withLease<T>(
    orgId: string,
    work: (operation: Operation) => Promise<T>,
    leased?: (waitedMs: number) => void,
  ): Promise<T> {
    const endsAt = performance.now() + deadlineMs;
    const msLeft = () => Math.max(0, endsAt - performance.now());
    using lease = await pool.lease(orgId, silent ? silentMs : deadlineMs * waitingPart);
    leased?.(deadlineMs - msLeft());
    const { connection } = lease;
    let deadline = loseAfter(connection, silent ? Math.min(silentMs, msLeft()) : msLeft());
    const answered = () => {
      heard();
      clearTimeout(deadline);
      deadline = loseAfter(connection, msLeft());
    };
    try {
      return await work({ connection, answered, msLeft });
    } catch (error) {
      if (connection.lost !== undefined) log.warn({ err: connection.lost }, "a database connection was lost");
      if (isDiskFull(error)) warnOfFullDisk(error);
      throw toServiceError(error);
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Not for each of the writes that fail meanwhile: there are as many as callers send. */
  function warnOfFullDisk(error: DatabaseError): void {
    const at = performance.now();
    if (at < quietUntil) return;
    quietUntil = at + quietMs;
    log.warn({ err: error }, "the disk of the database is full: make room, and writes go on by themselves");
  }

  /** Only this frees a statement whose server is stopped or unreachable. */
  function loseAfter(connection: Connection, milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      silent = true;
      connection.lose(new ConnectionLost("no answer before the deadline"));
      pool.endIdle();
    }, milliseconds);
  }

  function transact<T>(kind: Kind, orgId: string, run: (tx: Tx) => Promise<T | Unchanged<T>>): Promise<T> {
    return onConnection(kind, orgId, async ({ connection, answered, msLeft }) => {
      await begin(connection, kind, orgId, msLeft() - marginMs);
      answered();
      const { result, changed } = await finish(connection, kind, run);
      for (const what of changed) notifications.notify(what);
      // What was recorded is to be read elsewhere as well. Only here: a NOTIFY would hold up all other commits.
      if (kind === "change") notifications.notify(`audited/${orgId}`);
      return result;
    });
  }

  function inOrganisation<T>(
    kind: Kind,
    orgId: string,
    run: (tx: Tx) => Promise<T | Unchanged<T>>,
  ): Promise<T> {
    if (orgId === ownUse) throw new Error("the transaction needs an organisation");
    return transact(kind, orgId, run);
  }

  function single<T>(run: (tx: Tx) => Promise<T>, askedBy = ownUse): Promise<T> {
    return onConnection("single", askedBy, async ({ connection, answered }) => {
      const result = await runSingle(connection, run);
      answered();
      return result;
    });
  }

  return {
    read: (orgId, run) => inOrganisation("read", orgId, run),
    change: (orgId, run) => inOrganisation("change", orgId, run),
    record: (orgId, run) => inOrganisation("record", orgId, run),
    system: (run) => transact("system", ownUse, run),
    single,
    listen: (listener) => notifications.listen(listener),
    async answers() {
      // A busy service need not ask: it hears the database all the time.
      if (performance.now() - answeredAt < heardMs) return true;
      const asked = single((tx) => tx.execute(sql`select 1`));
      return await within(answerMs, asked, () => new Error("no answer")).then(
        () => true,
        () => false,
      );
    },
    load: () => pool.load(),
    async close() {
      await Promise.all([notifications.close(), pool.close()]);
    },
  };
}

type Kind = "read" | "change" | "record" | "system";

/** A turn on a connection. */
interface Operation {
  readonly connection: Connection;
  /** Called at the first answer: the database is there. */
  readonly answered: () => void;
  /** Until the deadline. */
  readonly msLeft: () => number;
}

// Stated each time: the server may have another default, and both kinds depend on theirs.
const oneMoment = "isolation level repeatable read read only";
/** With one moment for all statements, a read after the wait for a lock would see the rows as before the wait. */
const lockThenRead = "isolation level read committed read write";

async function begin(connection: Connection, kind: Kind, orgId: string, statementMs: number): Promise<void> {
  // 0 would mean without end.
  const timeout = Math.max(1, Math.round(statementMs));
  try {
    // Both leave in one packet. If the first fails, the second has no effect beyond itself.
    await Promise.all([
      connection.run(`begin ${kind === "read" ? oneMoment : lockThenRead}; set local role ${servingRole}`),
      connection.run("select set_config('app.org_id', $1, true), set_config('statement_timeout', $2, true)", [
        orgId,
        String(timeout),
      ]),
    ]);
  } catch (error) {
    // The state of the session is unknown.
    connection.lose(new ConnectionLost("the transaction could not begin"));
    throw error;
  }
}

async function runSingle<T>(connection: Connection, run: (tx: Tx) => Promise<T>): Promise<T> {
  const transaction = openTransaction(connection);
  try {
    return await connection.orLost(run(transaction.tx));
  } finally {
    transaction.close();
  }
}

interface Finished<T> {
  readonly result: T;
  /** What listeners are to be notified of. */
  readonly changed: readonly string[];
}

async function finish<T>(
  connection: Connection,
  kind: Kind,
  run: (tx: Tx) => Promise<T | Unchanged<T>>,
): Promise<Finished<T>> {
  const transaction = openTransaction(connection);
  let result: T | Unchanged<T>;
  try {
    result = await connection.orLost(run(transaction.tx));
  } catch (error) {
    transaction.close();
    await rollback(connection);
    throw error;
  }
  transaction.close();
  if (result instanceof Unchanged) {
    await rollback(connection);
    return { result: result.value, changed: [] };
  }
  return { result, changed: await commit(connection, kind) };
}

async function rollback(connection: Connection): Promise<void> {
  try {
    await connection.run("rollback");
  } catch {
    // A lost connection rolls back by itself; any other failure leaves a session that must not be used again.
    connection.lose(new ConnectionLost("the transaction could not be rolled back"));
  }
}

/** Commits, and returns what listeners are to be notified of. */
async function commit(connection: Connection, kind: Kind): Promise<string[]> {
  // Sent together: COMMIT after a failed statement is a rollback, so an unaudited change cannot slip through.
  const [settled, committed] = await Promise.allSettled([
    kind === "change" ? connection.run("select settle_change() as changed") : undefined,
    connection.run("commit"),
  ]);
  if (settled.status === "rejected" && settled.reason instanceof DatabaseError) throw settled.reason;
  if (committed.status === "rejected") {
    const inDoubt = committed.reason instanceof ConnectionLost && kind !== "read";
    throw inDoubt ? DatabaseUnavailable.inDoubt(committed.reason) : committed.reason;
  }
  // Postgres answers the COMMIT of a transaction in which a statement failed with ROLLBACK, and with no error.
  if (committed.value.command !== "COMMIT") {
    throw new Error(
      "a failed statement was ignored, so the transaction was rolled back instead of committed",
    );
  }
  const rows = settled.status === "fulfilled" ? settled.value : undefined;
  const changed = rows?.[0]?.["changed"] as string | null | undefined;
  return changed?.split(" ") ?? [];
}
