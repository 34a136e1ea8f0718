import { rootKeyNamed, type RootKeyParts } from "#src/crypto/named-root-key.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { SealBroken } from "#src/crypto/seal.ts";
import { BackupDamaged } from "#src/db/backup/errors.ts";
import type { Backup } from "#src/db/backup/read.ts";
import type { Seal } from "#src/db/backup/seal.ts";

const context = ["backup", "1"];

/** Binds a backup to the root key: whoever can write the file, but has no such key, cannot change what it says. */
export async function sealBackup(rootKey: RootKey, digest: Buffer): Promise<Seal> {
  return { rootKeyId: rootKey.id, wrapped: await rootKey.wrap(digest, context) };
}

/** Refuses a backup that was not written under a root key that is given, or was changed since; it was read to its end. */
export async function assertSealed(given: RootKeyParts, backup: Backup): Promise<void> {
  const { digest, seal } = backup.end();
  const needed = [...new Set([...backup.manifest.rootKeyIds, seal.rootKeyId])];
  if (notGiven(given, [seal.rootKeyId]).length > 0) {
    throw new Error(
      `the root key (${given.rootKey.id}) does not open this backup, which needs ${needed.join(", ")}; ` +
        "set PATCHBAY_ROOT_KEY, PATCHBAY_ROOT_KEY_FILE or PATCHBAY_ROOT_KEY_URL to that key",
    );
  }
  const rootKey = rootKeyNamed(seal.rootKeyId, given);
  const sealed = await rootKey.unwrap(seal.wrapped, context).catch((error: unknown) => {
    if (error instanceof SealBroken) throw notSealed();
    throw error;
  });
  if (!sealed.equals(digest)) throw notSealed();
}

/** Those of the root keys that are not given. */
export function notGiven({ rootKey, secondRootKey }: RootKeyParts, ids: readonly string[]): string[] {
  return ids.filter((id) => id !== rootKey.id && id !== secondRootKey?.id);
}

function notSealed(): BackupDamaged {
  return new BackupDamaged("it is not what was sealed under this root key, so someone may have changed it");
}
