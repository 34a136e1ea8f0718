import { createHash } from "node:crypto";
import { chown, lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerUser } from "./server-user.ts";

// The kernel allows 108 bytes on Linux and 104 on macOS for the whole path.
const longestFolder = 85;

/** Where the socket goes: into the data folder, which is private, or into the temporary folder if its path is too long. */
export async function findSocketFolder(cluster: string, user: ServerUser): Promise<string> {
  if (Buffer.byteLength(cluster) <= longestFolder) return cluster;
  const folder = join(
    tmpdir(),
    `patchbay-${createHash("sha256").update(cluster).digest("hex").slice(0, 16)}`,
  );
  try {
    await mkdir(folder, { mode: 0o700 });
    if (user.credentials.uid !== undefined) await chown(folder, user.uid, user.credentials.gid ?? user.uid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const found = await lstat(folder);
  // Any user may make a folder in the temporary folder, and listen in it in our stead.
  if (!found.isDirectory() || found.uid !== user.uid || (found.mode & 0o077) !== 0) {
    throw new Error(`${folder} must be a folder that only the user with uid ${user.uid} can read: remove it`);
  }
  return folder;
}
