import { open } from "node:fs/promises";

/**
 * Makes a file that only this user can read, and syncs it to the disk: other data may be worth nothing without it.
 * Fails with EEXIST rather than overwrite.
 */
export async function writeNewFile(file: string, text: string): Promise<void> {
  await using handle = await open(file, "wx", 0o600);
  await handle.writeFile(`${text}\n`);
  await handle.sync();
}
