import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "#src/config/config.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { NotEmpty } from "#src/db/backup/errors.ts";
import { load } from "#src/db/backup/load.ts";
import { migrationsOf } from "#src/db/backup/manifest.ts";
import { readBackup, type Backup } from "#src/db/backup/read.ts";
import { findRunningPostgres } from "#src/db/embedded/supervisor.ts";
import { ownFolder } from "#src/db/migrate.ts";
import type { Log } from "#src/platform/log.ts";
import { readBackupFile, syncFolder } from "./backup-file.ts";
import { assertSealed } from "./backup-seal.ts";
import { facts } from "./facts.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { openPostgres } from "./postgres.ts";
import { findRootKey, hasData } from "./root-key.ts";
import { verifyRestored } from "./verify-restored.ts";

/** `patchbay restore --check`: whether the file is whole, and what it holds; touches no database. */
export async function checkBackup(config: Config, file: string): Promise<void> {
  const rootKey = await findRootKey(config, createLog("warn", fileDescriptor(2)));
  const { manifest, rows } = await readWhole(file, rootKey);
  process.stdout.write(
    facts({
      file,
      made: `${manifest.madeAt}, by Patchbay ${manifest.release} on Postgres ${manifest.postgres}`,
      schema: manifest.migrations.at(-1)?.name,
      rows: `${rows} in ${manifest.tables.length} tables`,
      "root key": rootKeyLine(rootKey, manifest.rootKeyIds),
      whole: "yes",
    }),
  );
}

/** `patchbay restore`: into an empty place; what is there afterwards was verified. */
export async function restore(config: Config, file: string): Promise<void> {
  if (config.databaseUrl === undefined && (await hasData(config))) {
    throw new NotEmpty(
      `${config.dataDir} has data already: restore into another folder with --data-dir, or move that one away`,
    );
  }
  const log = createLog("warn", fileDescriptor(2));
  const rootKey = await findRootKey(config, log);
  // All of it before any of it is used: what is damaged may be at its end.
  const { manifest } = await readWhole(file, rootKey);
  const job = { file, rootKey, log };
  const { rows, events } = await (config.databaseUrl === undefined
    ? restoreEmbedded(config, job)
    : restoreExternal(config, job));
  process.stdout.write(
    facts({
      restored: `${rows} rows of ${manifest.tables.length} tables, as of ${manifest.madeAt}`,
      into: config.databaseUrl === undefined ? config.dataDir : "the database of DATABASE_URL",
      audit: `${events} events are as they were recorded`,
      "root key": rootKeyLine(rootKey, manifest.rootKeyIds),
      next: "start the service; what was revoked or changed after that moment is as before, so look through it",
    }),
  );
}

interface Job {
  readonly file: string;
  readonly rootKey: RootKey | undefined;
  readonly log: Log;
}

interface Restored {
  readonly rows: number;
  readonly events: bigint;
}

async function restoreExternal(config: Config, job: Job): Promise<Restored> {
  await using postgres = await openPostgres(config, job.log);
  return await restoreInto(postgres.url, job);
}

/** In a folder beside, whose name it gets only when it is whole: a restore that ends early leaves no data that counts. */
async function restoreEmbedded(config: Config, job: Job): Promise<Restored> {
  const staging = join(config.dataDir, "restoring");
  if ((await findRunningPostgres(staging)) !== undefined)
    throw new Error(`${staging} is in use by another restore`);
  await removeFolder(staging);
  try {
    const restored = await restoreExternal({ ...config, dataDir: staging }, job);
    await rename(join(staging, "postgres"), join(config.dataDir, "postgres")).catch((error: unknown) => {
      throw new Error(`${config.dataDir} got data from elsewhere meanwhile`, { cause: error });
    });
    await syncFolder(config.dataDir);
    return restored;
  } finally {
    await removeFolder(staging);
  }
}

/** A Postgres that has just ended may still be writing its last files. */
function removeFolder(folder: string): Promise<void> {
  return rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

async function restoreInto(url: string, { file, rootKey, log }: Job): Promise<Restored> {
  const backup = await readBackup(readBackupFile(file));
  const rows = await load({ url, log }, backup);
  const events = await verifyRestored({ url, log, rootKey }, backup.manifest);
  return { rows, events };
}

/** Reads the file to its end, and checks its sums, its seal and that this release knows its schema. */
async function readWhole(
  file: string,
  rootKey: RootKey | undefined,
): Promise<Pick<Backup, "manifest"> & { rows: number }> {
  const backup = await readBackup(readBackupFile(file));
  let rows = 0;
  for await (const table of backup.tables()) {
    for await (const piece of table.pieces()) {
      for (let at = piece.indexOf(10); at !== -1; at = piece.indexOf(10, at + 1)) rows++;
    }
  }
  // Only now: what a damaged file says of itself would send its reader to another release.
  await migrationsOf(backup.manifest, ownFolder);
  if (rootKey !== undefined) await assertSealed(rootKey, backup);
  return { manifest: backup.manifest, rows };
}

function rootKeyLine(rootKey: RootKey | undefined, needed: readonly string[]): string {
  if (rootKey !== undefined) return `${rootKey.id}, which sealed the backup`;
  return `none was given, so the seal was not checked; the service needs ${needed.join(", ")}`;
}
