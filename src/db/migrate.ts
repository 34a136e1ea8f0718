import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Log } from "#src/platform/log.ts";
import { openConnection, type Connection } from "./connection.ts";
import { ConnectionLost, DatabaseError } from "./errors.ts";
import { readMigrations, type Migration } from "./migration-files.ts";
import { createServingRole } from "./serving-role.ts";

/** Which database to bring up to date. */
export interface MigrateOptions {
  /** Not through a pooler in transaction mode: the lock that keeps replicas apart belongs to a session. */
  readonly url: string;
  readonly log: Log;
  readonly folder?: string;
  /** How many of the migrations to apply; all if not given. */
  readonly count?: number;
  /** How long to wait for a lock that running transactions hold, before letting them pass and trying again. */
  readonly lockTimeoutMs?: number;
}

/** The migrations of this release. */
export const ownFolder = fileURLToPath(new URL("../../drizzle", import.meta.url));
const lockAttempts = 20;
// Any number will do, as long as nothing else locks it. Advisory locks are per database already.
const lockKey = 7_420_001;

/** Brings the database to the newest schema. Replicas may do this at the same time: each file applies once. */
export async function migrate(options: MigrateOptions): Promise<void> {
  const { url, log, folder = ownFolder, lockTimeoutMs = 3_000 } = options;
  const migrations = (await readMigrations(folder)).slice(0, options.count);
  await using connection = openConnection(url, {
    application_name: "patchbay migrate",
    // A change that waits for a lock makes everything behind it wait too. Building an index may take long.
    lock_timeout: lockTimeoutMs,
    statement_timeout: 0,
  });
  await withMigrationLock(connection, log, async () => {
    await createServingRole(connection);
    await createMigrationTable(connection);
    const due = dueAfter(migrations, await readApplied(connection), log);
    for (const migration of due) {
      await patiently(log, migration, () => apply(connection, migration));
      log.debug({ migration: migration.name }, "migration applied");
    }
    if (due.length > 0 && options.count === undefined) log.info("the database has the newest schema now");
  });
}

/** The names of the migrations that `migrate` would apply; changes nothing. */
export async function dueMigrations({ url, log, folder = ownFolder }: MigrateOptions): Promise<string[]> {
  await using connection = openConnection(url, { application_name: "patchbay migrate" });
  const [table] = await connection.run("select to_regclass('schema_migrations') is not null as made");
  const applied = table?.["made"] === true ? await readApplied(connection) : [];
  return dueAfter(await readMigrations(folder), applied, log).map(({ name }) => name);
}

/** Runs alone: no other process migrates this database meanwhile. */
async function withMigrationLock(connection: Connection, log: Log, run: () => Promise<void>): Promise<void> {
  // Asks again and again instead of waiting inside Postgres: a waiting statement holds a snapshot, and the
  // CREATE INDEX CONCURRENTLY of the process that migrates would wait for it in turn.
  for (let attempt = 0; ; attempt++) {
    const [row] = await connection.run(`select pg_try_advisory_lock(${lockKey}) as locked`);
    if (row?.["locked"] === true) break;
    if (attempt % 100 === 99) log.info("another process is migrating the database");
    await sleep(50 + Math.random() * 50);
  }
  await run();
  // The end of the session unlocks too, so a failure needs no care.
  await connection.run(`select pg_advisory_unlock(${lockKey})`);
}

async function createMigrationTable(connection: Connection): Promise<void> {
  await connection.run(`create table if not exists schema_migrations (
    index integer primary key, name text not null, hash text not null,
    applied_at timestamptz not null default now())`);
}

interface Applied {
  readonly name: string;
  readonly hash: string;
}

async function readApplied(connection: Connection): Promise<Applied[]> {
  const rows = await connection.run("select name, hash from schema_migrations order by index");
  return rows.map((row) => row as unknown as Applied);
}

/** The migrations left to apply; refuses a database whose applied migrations differ from the files. */
function dueAfter(migrations: readonly Migration[], applied: readonly Applied[], log: Log): Migration[] {
  for (const [index, { name, hash }] of applied.entries()) {
    const migration = migrations[index];
    if (migration === undefined) {
      // The previous release must run on this schema, or a rolling update would not be possible.
      log.warn({ migration: name }, "the database was migrated by a newer release");
      return [];
    }
    if (migration.name !== name || migration.hash !== hash) {
      throw new Error(
        `the database has migration ${name}, this release ${migration.name}, and they differ: ` +
          "an applied migration never changes, so restore the file and write a new one",
      );
    }
  }
  return migrations.slice(applied.length);
}

async function apply(connection: Connection, migration: Migration): Promise<void> {
  const { index, name, hash, statements, inTransaction } = migration;
  try {
    if (inTransaction) await connection.run("begin");
    for (const statement of statements) await connection.run(statement);
    await connection.run("insert into schema_migrations (index, name, hash) values ($1, $2, $3)", [
      index,
      name,
      hash,
    ]);
    if (inTransaction) await connection.run("commit");
  } catch (error) {
    if (inTransaction && connection.lost === undefined) await connection.run("rollback");
    throw error;
  }
}

/** Tries again if a lock was not free, after a pause in which waiting transactions get their turn. */
async function patiently(log: Log, migration: Migration, run: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (isLockTimeout(error) && attempt < lockAttempts) {
        log.warn({ migration: migration.name, attempt }, "migration waits for a lock");
        await sleep(100 * attempt);
        continue;
      }
      if (error instanceof ConnectionLost) throw error;
      throw new Error(`migration ${migration.name} failed and was rolled back`, { cause: error });
    }
  }
}

function isLockTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "55P03";
}
