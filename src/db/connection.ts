import type { Socket } from "node:net";
import postgres, { type Options, type PostgresType, type RowList, type Row } from "postgres";
import { parseAddress } from "./address.ts";
import { rowsOf, sendRows, type CopyQuery } from "./copy.ts";
import { ConnectionLost, DatabaseError, fromDriver } from "./errors.ts";
import { arrayParsers, toArrayLiteral } from "./arrays.ts";
import { openSocket, secure } from "./socket.ts";

/** Settings of the server for one session, such as `statement_timeout`. */
export type SessionSettings = Readonly<Record<string, string | number>>;

/** What a statement answered; `command` is the last command's tag. */
export type Rows = RowList<Row[]>;

/**
 * One socket to Postgres, from its first statement to its end. Once lost it stays lost.
 *
 * postgres.js by itself connects again and goes on: the rest of a transaction whose backend died would
 * run on the new session, outside any transaction or inside another caller's. Here it is refused.
 */
export interface Connection extends AsyncDisposable {
  /** Sends one statement, in the order of the calls and without waiting for earlier ones. */
  run(statement: string, parameters?: readonly unknown[], shape?: "objects" | "arrays"): Promise<Rows>;
  /** The rows that a `COPY … TO STDOUT` sends, in pieces, as fast as they are taken. Nothing else may run meanwhile. */
  copyOut(statement: string): AsyncIterable<Buffer>;
  /** Sends pieces of rows to a `COPY … FROM STDIN`; answers how many rows it took. Nothing else may run meanwhile. */
  copyIn(statement: string, pieces: AsyncIterable<Buffer>): Promise<number>;
  /** Settles like the work, or fails as soon as the connection is lost. */
  orLost<T>(work: Promise<T>): Promise<T>;
  /** Why the connection cannot be used any more; undefined as long as it can. */
  readonly lost: Error | undefined;
  /** Ends the connection at once, whatever it is doing. */
  lose(why: Error): void;
  /** Says goodbye to the server. */
  end(): Promise<void>;
}

// Statements are planned once per session and kept under a name. A bound, because lists of varying length
// make ever new statements, and the server would keep each.
const maxKeptStatements = 250;

/** A connection that opens with its first statement. `onNotify` gets the notifications of its channels. */
export function openConnection(
  url: string,
  settings: SessionSettings,
  onNotify?: (channel: string, payload: string) => void,
): Connection {
  const waiting = new Set<(why: Error) => void>();
  const kept = new Set<string>();
  let lost: Error | undefined;
  let socket: Socket | undefined;

  function lose(why: Error): void {
    if (lost !== undefined) return;
    lost = why;
    socket?.destroy();
    for (const fail of waiting) fail(why);
    waiting.clear();
  }

  const address = parseAddress(url);
  /** Notices the socket's end before the driver, which listens only some ticks later. */
  function watch(watched: Socket): void {
    socket = watched;
    // Without this, an error would end the process.
    watched.on("error", (error) => lose(fromDriver(error)));
    watched.on("close", () => lose(new ConnectionLost("the connection was closed")));
  }

  const options: Options<Record<string, PostgresType>> & Hidden = {
    ...(address.user !== undefined && { user: address.user }),
    ...(address.password !== undefined && { pass: address.password }),
    ...(address.database !== undefined && { database: address.database }),
    ...(onNotify && { onnotify: onNotify }),
    // Otherwise read from variables such as PGSSL. Only the socket below counts.
    ...{ host: "localhost", port: 5432, ssl: false, sslnegotiation: null },
    max: 1,
    max_lifetime: null,
    idle_timeout: 0,
    // Each operation has a deadline of its own for everything.
    connect_timeout: 0,
    // Asking for the array types is an extra statement whose failure nothing can catch.
    fetch_types: false,
    // Ours come later and win. The tables are where the functions of our migrations look for them.
    connection: { options: address.sessionOptions, search_path: "public", ...settings },
    onnotice: () => undefined,
    onclose: () => lose(new ConnectionLost("the connection was closed")),
    async socket() {
      // Thrown when postgres.js wants to connect a second time, or too late.
      if (lost !== undefined || socket !== undefined) {
        const late = new ConnectionLost("the connection was closed before it was ready");
        lose(late);
        throw late;
      }
      const plain = openSocket(address);
      watch(plain);
      try {
        const ready = await orLost(secure(plain, address));
        if (ready !== plain) watch(ready);
        return ready;
      } catch (error) {
        lose(fromDriver(error));
        throw error;
      }
    },
  };
  const sql = postgres(options);
  Object.assign(sql.options.parsers, plainParsers);
  Object.assign(sql.options.parsers, arrayParsers(sql.options.parsers));
  Object.assign(sql.options.serializers, plainSerializers);

  /** Whether the server should keep the statement's plan. */
  function keeps(statement: string): boolean {
    if (!kept.has(statement) && kept.size < maxKeptStatements) kept.add(statement);
    return kept.has(statement);
  }

  function orLost<T>(work: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (lost === undefined) waiting.add(reject);
    else reject(lost);
    void work.then(resolve, reject).finally(() => waiting.delete(reject));
    return promise;
  }

  function failed(error: unknown): Error {
    if (lost !== undefined && error === lost) return lost;
    const failure = fromDriver(error);
    // After a statement that could not be built, postgres.js has lost count of what is in flight.
    if (!(failure instanceof DatabaseError)) lose(failure);
    return failure;
  }

  /** If the pieces fail, half of them are on their way: only the end of the connection takes them back. */
  async function* orLoses(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    try {
      yield* pieces;
    } catch (error) {
      lose(error as Error);
      throw error;
    }
  }

  function copy(statement: string): CopyQuery {
    if (lost !== undefined) throw lost;
    return sql.unsafe(statement) as unknown as CopyQuery;
  }

  async function end(): Promise<void> {
    if (lost === undefined) await sql.end({ timeout: 1 });
    lose(new ConnectionLost("the connection was ended"));
  }

  return {
    run(statement, parameters = [], shape = "objects") {
      if (lost !== undefined) return Promise.reject(lost);
      const sent = parameters.map((value) => (Array.isArray(value) ? toArrayLiteral(value) : value));
      const query = sql.unsafe(statement, sent as never[], { prepare: keeps(statement) });
      const answer = shape === "arrays" ? query.values() : query;
      return orLost(
        Promise.resolve(answer as unknown as Promise<Rows>).catch((error: unknown) => {
          throw failed(error);
        }),
      );
    },
    async *copyOut(statement) {
      try {
        yield* rowsOf(copy(statement), orLost);
      } catch (error) {
        throw failed(error);
      }
    },
    async copyIn(statement, pieces) {
      try {
        return await sendRows(copy(statement), orLoses(pieces), orLost);
      } catch (error) {
        throw failed(error);
      }
    },
    orLost,
    get lost() {
      return lost;
    },
    lose,
    end,
    [Symbol.asyncDispose]: end,
  };
}

/** Options that postgres.js takes and its types do not name. */
interface Hidden {
  socket(): Promise<Socket>;
  onnotify?(channel: string, payload: string): void;
}

// Drizzle's columns parse dates and JSON themselves, and would parse what is already parsed a second time: a
// stored JSON string "1" would come back as the number.
const asItIs = (value: unknown) => value;
const dates = [1082, 1083, 1114, 1182, 1184, 1185, 1115, 1231];
const json = [114, 3802];
const plainParsers = Object.fromEntries([...dates, ...json].map((type) => [type, asItIs]));
const plainSerializers = {
  ...Object.fromEntries(
    dates.map((type) => [type, (value: unknown) => (value instanceof Date ? value.toISOString() : value)]),
  ),
  ...Object.fromEntries(
    json.map((type) => [
      type,
      (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value)),
    ]),
  ),
};
