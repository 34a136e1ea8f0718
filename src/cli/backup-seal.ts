import type { RootKey } from "#src/crypto/root-key.ts";
import { SealBroken } from "#src/crypto/seal.ts";
import { BackupDamaged } from "#src/db/backup/errors.ts";
import type { Backup } from "#src/db/backup/read.ts";

const context = ["backup", "1"];

/** Binds a backup to the root key: whoever can write the file, but has no such key, cannot change what it says. */
export function sealBackup(rootKey: RootKey, digest: Buffer): Promise<Buffer> {
  return rootKey.wrap(digest, context);
}

/** Refuses a backup that was not written under the root key, or was changed since. Its sums must be checked already. */
export async function assertSealed(rootKey: RootKey, backup: Backup): Promise<void> {
  const { rootKeyIds } = backup.manifest;
  if (rootKeyIds.length > 0 && !rootKeyIds.includes(rootKey.id)) {
    throw new Error(
      `the root key (${rootKey.id}) does not open this backup, which needs ${rootKeyIds.join(", ")}; ` +
        "set PATCHBAY_ROOT_KEY or PATCHBAY_ROOT_KEY_FILE to that key",
    );
  }
  const { digest, seal: wrapped } = backup.seal();
  const sealed = await rootKey.unwrap(wrapped, context).catch((error: unknown) => {
    if (error instanceof SealBroken) throw notSealed();
    throw error;
  });
  if (!sealed.equals(digest)) throw notSealed();
}

function notSealed(): BackupDamaged {
  return new BackupDamaged("it is not what was sealed under this root key, so someone may have changed it");
}
