import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "#src/config/config.ts";
import type { RootKeyParts } from "#src/crypto/named-root-key.ts";
import { NotEmpty } from "#src/db/backup/errors.ts";
import { load } from "#src/db/backup/load.ts";
import { migrationsOf } from "#src/db/backup/manifest.ts";
import { readBackup, type Backup } from "#src/db/backup/read.ts";
import { findRunningPostgres } from "#src/db/embedded/supervisor.ts";
import { ownFolder } from "#src/db/migrate.ts";
import type { Log } from "#src/platform/log.ts";
import { readBackupFile, syncFolder } from "./backup-file.ts";
import { assertSealed, notGiven } from "./backup-seal.ts";
import { facts } from "./facts.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { openPostgres } from "./postgres.ts";
import { findRootKey, hasData, readRootKey } from "./root-key.ts";
import { verifyRestored } from "./verify-restored.ts";

/** `patchbay restore --check`: whether the file is whole, and what it holds; touches no database. */
export async function checkBackup(config: Config, file: string): Promise<void> {
  const keys = await findRootKeys(config, createLog("warn", fileDescriptor(2)));
  const { manifest, rows } = await readWhole(file, keys);
  process.stdout.write(
    facts({
      file,
      made: `${manifest.madeAt}, by Patchbay ${manifest.release} on Postgres ${manifest.postgres}`,
      schema: manifest.migrations.at(-1)?.name,
      rows: `${rows} in ${manifest.tables.length} tables`,
      "root key": rootKeyLine(keys, manifest.rootKeyIds),
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
  const keys = await findRootKeys(config, log);
  // All of it before any of it is used: what is damaged may be at its end.
  const { manifest } = await readWhole(file, keys);
  const job = { file, keys, log };
  const { rows, events } = await (config.databaseUrl === undefined
    ? restoreEmbedded(config, job)
    : restoreExternal(config, job));
  process.stdout.write(
    facts({
      restored: `${rows} rows of ${manifest.tables.length} tables, as of ${manifest.madeAt}`,
      into: config.databaseUrl === undefined ? config.dataDir : "the database of DATABASE_URL",
      audit: `${events} events are as they were recorded`,
      "root key": rootKeyLine(keys, manifest.rootKeyIds),
      next: "start the service; what was revoked or changed after that moment is as before, so look through it",
    }),
  );
}

interface Job {
  readonly file: string;
  /** None if the embedded database is restored before its key is in its place. */
  readonly keys: RootKeyParts | undefined;
  readonly log: Log;
}

async function findRootKeys(config: Config, log: Log): Promise<RootKeyParts | undefined> {
  const rootKey = await findRootKey(config, log);
  return rootKey && { rootKey, secondRootKey: await readRootKey(config, "secondRootKey", log) };
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

async function restoreInto(url: string, { file, keys, log }: Job): Promise<Restored> {
  const backup = await readBackup(readBackupFile(file));
  // Once more: it may be another file by now.
  const accept = (read: Backup) => assertAccepted(read, keys);
  const rows = await load({ url, log, accept }, backup);
  const events = await verifyRestored({ url, log, keys }, backup.manifest);
  return { rows, events };
}

/** Reads the file to its end, and checks its sums, its seal and that this release knows its schema. */
async function readWhole(
  file: string,
  keys: RootKeyParts | undefined,
): Promise<Pick<Backup, "manifest"> & { rows: number }> {
  const backup = await readBackup(readBackupFile(file));
  let rows = 0;
  for await (const table of backup.tables()) {
    // Their sum is checked on the way.
    for await (const _ of table.pieces());
    rows += table.count();
  }
  // Only now: what a damaged file says of itself would send its reader to another release.
  await migrationsOf(backup.manifest, ownFolder);
  await assertAccepted(backup, keys);
  return { manifest: backup.manifest, rows };
}

async function assertAccepted(backup: Backup, keys: RootKeyParts | undefined): Promise<void> {
  if (keys !== undefined) await assertSealed(keys, backup);
}

function rootKeyLine(keys: RootKeyParts | undefined, needed: readonly string[]): string {
  if (keys === undefined)
    return `none was given, so the seal was not checked; the service needs ${needed.join(", ")}`;
  const missing = notGiven(keys, needed);
  const also = missing.length === 0 ? "" : `; the service also needs ${missing.join(", ")}`;
  return `${keys.rootKey.id}, and the seal is right${also}`;
}
