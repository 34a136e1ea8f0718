import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { invalidSetting, type Config } from "#src/config/config.ts";
import { writeNewFile } from "./new-file.ts";

/**
 * Writes the admin key to a file that only this user can read, and returns its path. A file that is there already
 * stays: it may hold the only copy of another environment's key.
 */
export async function writeAdminKey({ dataDir, environment }: Config, secret: string): Promise<string> {
  const made = mkdir(dataDir, { recursive: true, mode: 0o700 });
  await made.catch((error: unknown) => refuse(dataDir, error));
  for (let copy = 1; ; copy++) {
    const file = join(dataDir, copy === 1 ? "admin-key" : `admin-key-${environment}-${copy}`);
    try {
      await writeNewFile(file, secret);
      return file;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") refuse(file, error);
    }
  }
}

function refuse(path: string, error: unknown): never {
  const { code } = error as NodeJS.ErrnoException;
  throw invalidSetting(
    "dataDir",
    `the admin key cannot be written to ${path} (${code}): choose a folder that this user may write`,
  );
}
