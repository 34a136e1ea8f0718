import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { invalidSetting, type Config } from "#src/config/config.ts";
import { writeNewFile } from "./new-file.ts";

/**
 * Writes the admin key to a file that only this user can read, and answers which. One that is there already
 * stays: it may hold the only copy of another environment's key.
 */
export async function writeAdminKey({ dataDir, environment }: Config, secret: string): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  for (let copy = 1; ; copy++) {
    const file = join(dataDir, copy === 1 ? "admin-key" : `admin-key-${environment}-${copy}`);
    try {
      await writeNewFile(file, secret);
      return file;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") continue;
      throw invalidSetting(
        "dataDir",
        `the admin key cannot be written to ${file} (${code}): choose a folder that this user may write`,
      );
    }
  }
}
