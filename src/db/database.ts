import type { Log } from "#src/platform/log.ts";
import { openConnection, type Connection } from "./connection.ts";
import { ConnectionLost, DatabaseError, DatabaseUnavailable, toServiceError } from "./errors.ts";
import { createNotifications, type Listener } from "./notifications.ts";
import { createPool, ownUse } from "./pool.ts";
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
   * count. Like `system`, it is of no organisation; but if one organisation is known to ask, it waits among the
   * operations of that one.
   */
  single<T>(run: (tx: Tx) => Promise<T>, askedBy?: string): Promise<T>;
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
  /** For all of an operation: a free connection, its opening, the transaction and its end. */
  readonly deadlineMs?: number;
}

/** What part of the deadline may pass in the queue: whoever begins with less left would only fail later. */
const waitingPart = 0.75;
/**
 * For the first answer, while the database is silent: it has left a question unanswered for the whole deadline, and
 * nothing has answered since. A call that does several operations must not wait for the deadline with each of them.
 */
const silentMs = 500;
/** Statements end this long before the deadline, so that it is the server that ends them, and not their connection. */
const marginMs = 250;

// The server's own deadlines are for what our side cannot see: a connection that died without a word.
const serverDeadlines = {
  statement_timeout: 4_000,
  lock_timeout: 3_000,
  idle_in_transaction_session_timeout: 5_000,
};

/** Opens nothing yet: the first operation connects. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, log, poolSize = 10, deadlineMs = 4_500 } = options;
  const session = {
    application_name: "patchbay",
    DateStyle: "ISO",
    TimeZone: "UTC",
    role: servingRole,
    // For `single`, which has no BEGIN to say so: a change there would be one without an audit event.
    default_transaction_read_only: "on",
    ...serverDeadlines,
  };
  let silent = false;
  const pool = createPool(poolSize, () => openConnection(url, session));
  const notifications = createNotifications({
    answered: () => (silent = false),
    open: (onNotify) => openConnection(url, { ...session, application_name: "patchbay listener" }, onNotify),
    log,
  });

  /** Runs on a connection of the pool, all within one deadline. */
  async function onConnection<T>(orgId: string, work: (operation: Operation) => Promise<T>): Promise<T> {
    const endsAt = performance.now() + deadlineMs;
    const msLeft = () => Math.max(0, endsAt - performance.now());
    using lease = await pool.lease(orgId, silent ? silentMs : deadlineMs * waitingPart);
    const { connection } = lease;
    let deadline = loseAfter(connection, silent ? Math.min(silentMs, msLeft()) : msLeft());
    const answered = () => {
      silent = false;
      clearTimeout(deadline);
      deadline = loseAfter(connection, msLeft());
    };
    try {
      return await work({ connection, answered, msLeft });
    } catch (error) {
      if (connection.lost !== undefined) log.warn({ err: connection.lost }, "a database connection was lost");
      throw toServiceError(error);
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Nothing but this frees a statement whose server is stopped or unreachable. */
  function loseAfter(connection: Connection, milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      silent = true;
      connection.lose(new ConnectionLost("no answer before the deadline"));
      pool.endIdle();
    }, milliseconds);
  }

  function transact<T>(kind: Kind, orgId: string, run: (tx: Tx) => Promise<T | Unchanged<T>>): Promise<T> {
    return onConnection(orgId, async ({ connection, answered, msLeft }) => {
      await begin(connection, kind, orgId, msLeft() - marginMs);
      answered();
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
    if (orgId === ownUse) throw new Error("the transaction needs an organisation");
    return transact(kind, orgId, run);
  }

  return {
    read: (orgId, run) => inOrganisation("read", orgId, run),
    change: (orgId, run) => inOrganisation("change", orgId, run),
    record: (orgId, run) => inOrganisation("record", orgId, run),
    system: (run) => transact("system", ownUse, run),
    single: (run, askedBy = ownUse) =>
      onConnection(askedBy, async ({ connection, answered }) => {
        const result = await runSingle(connection, run);
        answered();
        return result;
      }),
    listen: (listener) => notifications.listen(listener),
    async close() {
      await Promise.all([notifications.close(), pool.close()]);
    },
  };
}

type Kind = "read" | "change" | "record" | "system";

/** A turn on a connection. */
interface Operation {
  readonly connection: Connection;
  /** To be called at the first answer: the database is there. */
  readonly answered: () => void;
  /** Until the deadline. */
  readonly msLeft: () => number;
}

// Said each time: the server may have another default, on which either would go wrong.
const oneMoment = "isolation level repeatable read read only";
/** With one moment, what is read after waiting for a lock would be what was there before the wait. */
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
