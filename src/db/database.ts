import type { Log } from "#src/platform/log.ts";
import { openConnection, type Connection } from "./connection.ts";
import { ConnectionLost, DatabaseError, DatabaseUnavailable, toServiceError } from "./errors.ts";
import { createNotifications, type Listener } from "./notifications.ts";
import { createPool } from "./pool.ts";
import { servingRole } from "./serving-role.ts";
import { openTransaction, type Tx } from "./transaction.ts";

export type { Tx } from "./transaction.ts";

/** The only way to Postgres: each call is one transaction, as the role that owns nothing. */
export interface Database {
  /**
   * One organisation's rows, in a READ ONLY transaction: what reads cannot change anything unaudited. All its
   * statements see the same moment, so what they read fits together.
   */
  read<T>(orgId: string, run: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * A change. It commits only if it appended at least one audit event; `return unchanged(value)` instead
   * rolls back and answers the value, for what turns out to be the case already. Each of its statements sees what is
   * committed by then: lock first, and what is read after that stays so to the end.
   */
  change<T>(orgId: string, run: (tx: Tx) => Promise<T | Unchanged<T>>): Promise<T>;
  /** Bookkeeping that is no change of state by anybody: last use, health results. Not audited. */
  record<T>(orgId: string, run: (tx: Tx) => Promise<T>): Promise<T>;
  /** No organisation: row security shows and takes nothing, so only SECURITY DEFINER functions are of use. */
  system<T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * One statement that is a READ ONLY transaction by itself, for what is asked so often that BEGIN and COMMIT would
   * count. Like `system`, it is of no organisation.
   */
  single<T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  /** Notifies of changes from now on, of this process and of others; waits for the first try to listen. */
  listen(listener: Listener): Promise<void>;
  /** Waits for what is running, refuses what comes. */
  close(): Promise<void>;
}

/** What a change answers when there was nothing to change. */
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
  /** For a free connection, its opening and the start of the transaction together. */
  readonly startMs?: number;
  /** For everything after that, commit included. */
  readonly operationMs?: number;
}

// The server's own deadlines are for what our side cannot see: a connection that died without a word.
const serverDeadlines = {
  statement_timeout: 10_000,
  lock_timeout: 3_000,
  idle_in_transaction_session_timeout: 15_000,
};

/** Opens nothing yet: the first operation connects. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, log, poolSize = 10, startMs = 5_000, operationMs = 10_000 } = options;
  const session = {
    application_name: "patchbay",
    DateStyle: "ISO",
    TimeZone: "UTC",
    role: servingRole,
    // For `single`, which has no BEGIN to say so: a change there would be one without an audit event.
    default_transaction_read_only: "on",
    ...serverDeadlines,
  };
  const pool = createPool(poolSize, () => openConnection(url, session));
  const notifications = createNotifications({
    open: (onNotify) => openConnection(url, { ...session, application_name: "patchbay listener" }, onNotify),
    log,
  });

  /** Runs on a connection of the pool; `begun` says that the start is over, and what follows may take longer. */
  async function onConnection<T>(
    work: (connection: Connection, begun: () => void) => Promise<T>,
  ): Promise<T> {
    const mustStartBy = performance.now() + startMs;
    const lease = await pool.lease(startMs);
    const connection = lease.connection();
    let deadline = loseAfter(connection, mustStartBy - performance.now());
    try {
      return await work(connection, () => {
        clearTimeout(deadline);
        deadline = loseAfter(connection, operationMs);
      });
    } catch (error) {
      if (connection.lost !== undefined) log.warn({ err: connection.lost }, "a database connection was lost");
      throw toServiceError(error);
    } finally {
      clearTimeout(deadline);
      pool.release(lease);
    }
  }

  function transact<T>(kind: Kind, orgId: string, run: (tx: Tx) => Promise<T | Unchanged<T>>): Promise<T> {
    return onConnection(async (connection, begun) => {
      await begin(connection, kind, orgId);
      begun();
      const { result, changed } = await finish(connection, kind, run);
      for (const what of changed) notifications.notify(what);
      return result;
    });
  }

  function inOrganisation<T>(
    kind: Kind,
    orgId: string,
    run: (tx: Tx) => Promise<T | Unchanged<T>>,
  ): Promise<T> {
    if (orgId === "") throw new Error("the transaction needs an organisation");
    return transact(kind, orgId, run);
  }

  return {
    read: (orgId, run) => inOrganisation("read", orgId, run),
    change: (orgId, run) => inOrganisation("change", orgId, run),
    record: (orgId, run) => inOrganisation("record", orgId, run),
    system: (run) => transact("system", "", run),
    single: (run) => onConnection((connection) => runSingle(connection, run)),
    listen: (listener) => notifications.listen(listener),
    async close() {
      await Promise.all([notifications.close(), pool.close()]);
    },
  };
}

type Kind = "read" | "change" | "record" | "system";

/** Nothing but this frees a statement whose server is stopped or unreachable. */
function loseAfter(connection: Connection, milliseconds: number): NodeJS.Timeout {
  const why = new ConnectionLost("no answer before the deadline");
  return setTimeout(() => connection.lose(why), Math.max(0, milliseconds));
}

// Said each time: the server may have another default, on which either would go wrong.
const oneMoment = "isolation level repeatable read read only";
/** With one moment, what is read after waiting for a lock would be what was there before the wait. */
const lockThenRead = "isolation level read committed read write";

async function begin(connection: Connection, kind: Kind, orgId: string): Promise<void> {
  try {
    // Both leave in one packet. If the first fails, the second has no effect beyond itself.
    await Promise.all([
      connection.run(`begin ${kind === "read" ? oneMoment : lockThenRead}; set local role ${servingRole}`),
      connection.run("select set_config('app.org_id', $1, true)", [orgId]),
    ]);
  } catch (error) {
    // Nobody knows in what state the session is.
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
    // A lost connection rolls back by itself; any other failure leaves a session that nobody may use again.
    connection.lose(new ConnectionLost("the transaction could not be rolled back"));
  }
}

/** Commits, and answers what listeners are to be notified of. */
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
  // Postgres answers ROLLBACK, and no error, to the COMMIT of a transaction in which a statement failed.
  if (committed.value.command !== "COMMIT") {
    throw new Error(
      "a failed statement was ignored, so the transaction was rolled back instead of committed",
    );
  }
  const rows = settled.status === "fulfilled" ? settled.value : undefined;
  const changed = rows?.[0]?.["changed"] as string | null | undefined;
  return changed?.split(" ") ?? [];
}
