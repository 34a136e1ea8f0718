import { randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, rmSync } from "node:fs";
import { access, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { BackupDamaged } from "#src/db/backup/errors.ts";

/** Sealed bytes hardly get smaller, whatever it costs. */
const compression = { level: 3 };

/**
 * Compresses the pieces into a new file, readable by this user only, which gets its name once it is whole and on the disk.
 * Answers its size.
 */
export async function writeBackupFile(file: string, pieces: AsyncIterable<Buffer>): Promise<number> {
  await assertFree(file);
  // Not by the process: in a container, each has the number of an earlier one.
  const partial = `${file}.partial-${randomBytes(4).toString("hex")}`;
  // A signal ends the process wherever it is.
  const forget = () => rmSync(partial, { force: true });
  process.once("exit", forget);
  try {
    const written = createWriteStream(partial, { flags: "wx", mode: 0o600, flush: true });
    await pipeline(pieces, createGzip(compression), written);
    await rename(partial, file);
    await syncFolder(dirname(file));
    return (await stat(file)).size;
  } catch (error) {
    await rm(partial, { force: true });
    throw explained(error, file, "written");
  } finally {
    process.removeListener("exit", forget);
  }
}

/** A backup that was kept is worth more than the one that would take its place. */
async function assertFree(file: string): Promise<void> {
  const isTaken = await access(file).then(
    () => true,
    () => false,
  );
  if (isTaken) throw new Error(`${file} is there already: give each backup a name of its own`);
}

/** Without this, a power cut could take the name back. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder);
  await handle.sync();
}

/** What was compressed. */
export async function* readBackupFile(file: string): AsyncGenerator<Buffer> {
  const source = createReadStream(file);
  const inflated = createGunzip();
  // Its failure is that of the stream which is read.
  void pipeline(source, inflated).catch(() => undefined);
  try {
    for await (const piece of inflated) yield piece as Buffer;
  } catch (error) {
    throw explained(error, file, "read");
  } finally {
    source.destroy();
  }
}

const systemProblems: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  EACCES: "this user may not",
  EPERM: "this user may not",
  EISDIR: "it is a folder",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk is full for this user",
  EROFS: "the disk takes no changes",
};

function explained(error: unknown, file: string, done: string): unknown {
  const { code = "" } = error as NodeJS.ErrnoException;
  if (code === "Z_BUF_ERROR") return new BackupDamaged("it ends in the middle");
  if (code.startsWith("Z_")) return new BackupDamaged("it cannot be decompressed");
  const why = systemProblems[code];
  return why === undefined ? error : new Error(`${file} cannot be ${done} (${code}): ${why}`);
}
