import type { Log } from "#src/platform/log.ts";
import { openConnection, type Connection } from "../connection.ts";
import { migrate, ownFolder } from "../migrate.ts";
import { BackupDamaged, NotEmpty } from "./errors.ts";
import { exactly, quoted, readPartitions, readTables, type Partition, type Table } from "./layout.ts";
import { migrationsOf, type Manifest } from "./manifest.ts";
import { otherRows, type Backup, type TableRows } from "./read.ts";

/** Where the rows go. */
export interface LoadOptions {
  /** As the owner of the tables. */
  readonly url: string;
  readonly log: Log;
  /** Refuses a backup whose rows were all read, before they are kept. */
  readonly accept?: (backup: Backup) => Promise<void>;
}

const session = { application_name: "patchbay restore", ...exactly, lock_timeout: 3_000 };

/**
 * Loads the backup into a database that holds nothing: the schema that it was made with, all rows in one transaction, and
 * then the migrations that this release has beyond. Answers how many rows that were.
 */
export async function load({ url, log, accept }: LoadOptions, backup: Backup): Promise<number> {
  const { manifest } = backup;
  const migrations = await migrationsOf(manifest, ownFolder);
  await assertNothingElse(url, migrations.length);
  await migrate({ url, log, count: migrations.length });
  const rows = await loadRows(url, backup, accept);
  await migrate({ url, log });
  await using connection = openConnection(url, session);
  // Without it, the first hours would run with the plans of empty tables.
  await connection.run("analyze");
  return rows;
}

/** Refuses a database with tables of something else, or those of a later schema: migrations would be mixed with them. */
async function assertNothingElse(url: string, migrations: number): Promise<void> {
  await using connection = openConnection(url, session);
  const [found] = await connection.run(
    `select exists(select from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')) as taken,
       to_regclass('public.schema_migrations') is not null as migrated`,
  );
  if (found?.["migrated"] !== true) {
    if (found?.["taken"] === true) throw notEmpty("tables of something else");
    return;
  }
  const later = await connection.run("select from public.schema_migrations offset $1", [migrations]);
  if (later.length > 0) throw notEmpty("tables of a later schema than the backup's");
}

function notEmpty(what: string): NotEmpty {
  return new NotEmpty(`the database holds ${what}: restore into an empty one`);
}

async function loadRows(url: string, backup: Backup, accept: LoadOptions["accept"]): Promise<number> {
  await using connection = openConnection(url, session);
  const tables = await readTables(connection);
  await connection.run("begin");
  await assertEmpty(connection, tables);
  await makePartitions(connection, backup.manifest);
  const disabled = await disableTriggers(connection);
  const rows = await copyAll(connection, tables, backup);
  await accept?.(backup);
  for (const { name, value } of backup.manifest.sequences) {
    if (value !== null)
      await connection.run("select setval($1::regclass, $2::bigint)", [`public.${quoted(name)}`, value]);
  }
  for (const statement of disabled) await connection.run(statement);
  await connection.run("commit");
  return rows;
}

/** Under a lock, which whoever starts a service on the database meanwhile waits for. */
async function assertEmpty(connection: Connection, tables: readonly Table[]): Promise<void> {
  const names = tables.map(({ name }) => `public.${quoted(name)}`);
  await connection.run(`lock table ${names.join(", ")} in access exclusive mode`);
  for (const name of names) {
    const [found] = await connection.run(`select exists(select from ${name}) as filled`);
    if (found?.["filled"] === true) throw notEmpty(`rows in ${name}`);
  }
}

/** What was recorded is to be stored, not to happen again. Answers the statements that bring the triggers back. */
async function disableTriggers(connection: Connection): Promise<string[]> {
  const triggers = await connection.run(
    `select format('%I.%I', n.nspname, c.relname) as table, quote_ident(t.tgname) as trigger, t.tgenabled::text as mode
     from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' and not t.tgisinternal and t.tgparentid = 0 and t.tgenabled <> 'D'`,
  );
  const back: string[] = [];
  for (const { table, trigger, mode } of triggers as unknown as Record<string, string>[]) {
    await connection.run(`alter table ${table} disable trigger ${trigger}`);
    back.push(
      `alter table ${table} enable ${mode === "A" ? "always " : mode === "R" ? "replica " : ""}trigger ${trigger}`,
    );
  }
  return back;
}

/** As they were: a row finds no place in a table without its day, and the migrations of today make those of today. */
async function makePartitions(connection: Connection, manifest: Manifest): Promise<void> {
  const made = new Set((await readPartitions(connection)).map(keyOf));
  const wanted = new Map(manifest.partitions.map((partition) => [keyOf(partition), checked(partition)]));
  for (const partition of await readPartitions(connection)) {
    if (!wanted.has(keyOf(partition))) await connection.run(`drop table public.${quoted(partition.name)}`);
  }
  for (const [key, { parent, name, bounds }] of wanted) {
    if (made.has(key)) continue;
    const [table, whole] = [`public.${quoted(name)}`, `public.${quoted(parent)}`];
    await connection.run(`create table ${table} (like ${whole} including all)`);
    await connection.run(`alter table ${whole} attach partition ${table} ${bounds}`);
  }
}

function keyOf({ parent, name, bounds }: Partition): string {
  return JSON.stringify([parent, name, bounds]);
}

const value = "(?:MINVALUE|MAXVALUE|'[^'\\\\]*')";
const knownBounds = new RegExp(`^(?:DEFAULT|FOR VALUES FROM \\(${value}\\) TO \\(${value}\\))$`);

/** Bounds become part of a statement, and a file may say anything. */
function checked(partition: Partition): Partition {
  const { parent, name, bounds } = partition;
  if (![parent, name, bounds].every((text) => typeof text === "string") || !knownBounds.test(bounds)) {
    throw new BackupDamaged("it holds a partition that no backup has");
  }
  return partition;
}

async function copyAll(connection: Connection, tables: readonly Table[], backup: Backup): Promise<number> {
  const left = new Map(tables.map((table) => [table.name, table]));
  let rows = 0;
  for await (const given of backup.tables()) {
    const table = left.get(given.name);
    if (table === undefined || !sameColumns(table, given)) {
      throw new BackupDamaged(`${given.name} is no table of its migrations`);
    }
    left.delete(given.name);
    const list = table.columns.map(quoted).join(", ");
    const statement = `copy public.${quoted(table.name)} (${list}) from stdin`;
    const stored = await connection.copyIn(statement, given.pieces());
    // A line that ends the COPY would hide the rows behind it.
    if (stored !== given.count()) throw otherRows(table.name);
    rows += stored;
  }
  const [missing] = left.keys();
  if (missing !== undefined) throw new BackupDamaged(`${missing} is missing`);
  return rows;
}

function sameColumns(one: Table, other: TableRows): boolean {
  return JSON.stringify(one.columns) === JSON.stringify(other.columns);
}
