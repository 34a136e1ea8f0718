import { createHash } from "node:crypto";
import type { Connection } from "../connection.ts";
import { createRowSum, frame, jsonFrame } from "./frames.ts";
import { exactly, quoted, readPartitions, readSequences, readTables, type Table } from "./layout.ts";
import { format, type Manifest } from "./manifest.ts";
import type { Seal } from "./seal.ts";

/** The session that a backup is read in. */
export const dumpSession = { application_name: "patchbay backup", ...exactly };

/** What is known beside the database. */
export interface DumpFacts {
  readonly release: string;
  readonly madeAt: Date;
  /** Seals the digest of all that was written, so that the backup cannot be changed unnoticed. */
  readonly seal: (digest: Buffer) => Promise<Seal>;
  /** Called with what the backup says of itself, before any row is read; may refuse. */
  readonly begun?: (manifest: Manifest) => void;
}

/** How much was written, for people. */
export interface Dumped {
  tables: number;
  rows: number;
}

/**
 * The whole database as it was at one moment, uncompressed, in pieces. Writers go on meanwhile; only changes of tables
 * wait. Ask as the owner: row security would hide the rows from anyone else.
 */
export async function* dump(
  connection: Connection,
  facts: DumpFacts,
  dumped: Dumped,
): AsyncGenerator<Buffer> {
  const tables = await beginMoment(connection);
  const manifest = await describe(connection, tables, facts);
  facts.begun?.(manifest);
  const digest = createHash("sha256");
  for await (const piece of framesFrom(connection, tables, manifest, dumped)) {
    digest.update(piece);
    yield piece;
  }
  await connection.run("commit");
  const sha256 = digest.digest();
  const { rootKeyId, wrapped } = await facts.seal(sha256);
  yield jsonFrame("Z", { sha256: sha256.toString("hex"), rootKeyId, seal: wrapped.toString("base64") });
}

/**
 * Locks the tables before the moment begins: a migration or the drop of a day would otherwise take rows from a moment
 * that is past already.
 */
async function beginMoment(connection: Connection): Promise<Table[]> {
  for (;;) {
    const found = await readTables(connection);
    if (found.length === 0) throw new Error("there is nothing to back up yet: the database has no tables");
    await connection.run("begin isolation level repeatable read read only");
    const names = found.map(({ name }) => `public.${quoted(name)}`);
    await connection.run(`lock table ${names.join(", ")} in access share mode`);
    const tables = await readTables(connection);
    if (JSON.stringify(tables) === JSON.stringify(found)) return tables;
    // A migration was faster.
    await connection.run("rollback");
  }
}

async function describe(
  connection: Connection,
  tables: readonly Table[],
  facts: DumpFacts,
): Promise<Manifest> {
  const migrations = await connection.run("select name, hash from public.schema_migrations order by index");
  const [server] = await connection.run("select current_setting('server_version') as version");
  const rootKeys = await connection.run(
    `select root_key_id as id from public.service_keys
     union select root_key_id from public.org_keys where wrapped_key is not null order by 1`,
  );
  return {
    format,
    madeAt: facts.madeAt.toISOString(),
    release: facts.release,
    postgres: String(server?.["version"]),
    rootKeyIds: rootKeys.map((row) => String(row["id"])),
    migrations: migrations.map((row) => ({ name: String(row["name"]), hash: String(row["hash"]) })),
    tables: tables.map(({ name }) => name),
    partitions: await readPartitions(connection),
    sequences: await readSequences(connection),
  };
}

async function* framesFrom(
  connection: Connection,
  tables: readonly Table[],
  manifest: Manifest,
  dumped: Dumped,
): AsyncGenerator<Buffer> {
  yield jsonFrame("M", manifest);
  for (const { name, columns } of tables) {
    yield jsonFrame("T", { table: name, columns });
    const sum = createRowSum();
    const list = columns.map(quoted).join(", ");
    const rows = connection.copyOut(`copy (select ${list} from public.${quoted(name)}) to stdout`);
    for await (const block of blocksOf(rows)) {
      sum.add(block);
      yield frame("D", block);
    }
    const end = sum.end();
    dumped.tables += 1;
    dumped.rows += end.rows;
    yield jsonFrame("E", end);
  }
}

const blockBytes = 256 * 1024;

/** Postgres sends each row by itself, of which some have ten bytes and some ten million: neither makes a good block. */
async function* blocksOf(rows: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let bytes = 0;
  for await (const row of rows) {
    waiting.push(row);
    bytes += row.length;
    if (bytes < blockBytes) continue;
    const whole = Buffer.concat(waiting, bytes);
    for (let at = 0; at < bytes; at += blockBytes) yield whole.subarray(at, at + blockBytes);
    waiting = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(waiting, bytes);
}
