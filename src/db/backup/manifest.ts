import { readMigrations, type Migration } from "../migration-files.ts";
import { BackupDamaged, BackupTooNew } from "./errors.ts";
import type { Partition, Sequence } from "./layout.ts";

/** What a backup says of itself before its rows. */
export interface Manifest {
  /** Counts up when an older release could not read it. */
  readonly format: number;
  readonly madeAt: string;
  /** The release that made it. */
  readonly release: string;
  /** The version of Postgres that it is from. */
  readonly postgres: string;
  /** The root keys that open what is sealed in it; the keys themselves are not in it. */
  readonly rootKeyIds: readonly string[];
  readonly migrations: readonly { readonly name: string; readonly hash: string }[];
  readonly tables: readonly string[];
  readonly partitions: readonly Partition[];
  readonly sequences: readonly Sequence[];
}

/** What this release writes and reads. */
export const format: number = 1;

/** The manifest; refuses one that this release does not know. */
export function parseManifest(text: string): Manifest {
  let manifest: Partial<Manifest>;
  try {
    manifest = JSON.parse(text) as Partial<Manifest>;
  } catch {
    throw new BackupDamaged("what it says of itself cannot be read");
  }
  if (typeof manifest.format === "number" && manifest.format > format) {
    throw new BackupTooNew(`format ${manifest.format}, from Patchbay ${manifest.release}`);
  }
  const lists = [
    manifest.rootKeyIds,
    manifest.migrations,
    manifest.tables,
    manifest.partitions,
    manifest.sequences,
  ];
  if (manifest.format !== format || !lists.every(Array.isArray)) {
    throw new BackupDamaged("what it says of itself is incomplete");
  }
  return manifest as Manifest;
}

/** The migrations of the backup, which are the first of this release; refuses any others. */
export async function migrationsOf(manifest: Manifest, folder: string): Promise<Migration[]> {
  const own = await readMigrations(folder);
  for (const [index, { name, hash }] of manifest.migrations.entries()) {
    const migration = own[index];
    if (migration === undefined)
      throw new BackupTooNew(`migration ${name}, from Patchbay ${manifest.release}`);
    if (migration.name !== name || migration.hash !== hash) {
      throw new Error(
        `the backup has migration ${name}, this release ${migration.name}, and they differ: ` +
          `restore it with the release that made it (${manifest.release})`,
      );
    }
  }
  return own.slice(0, manifest.migrations.length);
}
