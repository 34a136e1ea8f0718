import {
  PgDatabase,
  PgDialect,
  type PgPreparedQuery,
  type PostgresJsQueryResultHKT,
  PostgresJsSession,
  type PreparedQueryConfig,
} from "./drizzle.cjs";
import type { Connection } from "./connection.ts";

/**
 * The statements of one transaction. It has no `transaction` of its own: drizzle would send a second BEGIN
 * on the same session, and its COMMIT would end ours.
 */
export type Tx = Omit<PgDatabase<PostgresJsQueryResultHKT>, "transaction">;

/** A `Tx` on a connection that stops working when the transaction is over. */
export interface OpenTransaction {
  readonly tx: Tx;
  /** From here on, code that still holds the `Tx` gets an error instead of another caller's transaction. */
  close(): void;
}

/** Hands out the connection for the time of one transaction. */
export function openTransaction(connection: Connection): OpenTransaction {
  let open = true;
  const client = {
    options: {},
    unsafe(statement: string, parameters: unknown[]) {
      const run = (shape: "objects" | "arrays") =>
        open
          ? connection.run(statement, parameters, shape)
          : Promise.reject(new Error("the transaction is over"));
      return {
        values: () => run("arrays"),
        // oxlint-disable-next-line unicorn/no-thenable -- drizzle awaits the driver's lazy query
        then: (...handlers: Parameters<Promise<unknown>["then"]>) => run("objects").then(...handlers),
      };
    },
  };
  const session = new GuardedSession(client as never, dialect, undefined);
  return {
    tx: new PgDatabase(dialect, session as never, undefined),
    close() {
      open = false;
    },
  };
}

const dialect = new PgDialect();

type Session = PostgresJsSession<never, Record<string, never>, Record<string, never>>;

class GuardedSession extends PostgresJsSession<never, Record<string, never>, Record<string, never>> {
  override prepareQuery<T extends PreparedQueryConfig>(
    ...query: Parameters<Session["prepareQuery"]>
  ): PgPreparedQuery<T> {
    // Drizzle would wrap each failure in an error whose message holds all parameters.
    return Object.assign(super.prepareQuery<T>(...query), { queryWithCache: runWithoutWrapping });
  }

  override transaction(): never {
    throw new Error("a transaction inside a transaction would commit the outer one");
  }
}

function runWithoutWrapping<T>(
  _statement: string,
  _parameters: unknown[],
  run: () => Promise<T>,
): Promise<T> {
  return run();
}
