import type { Config } from "#src/config/config.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { dump, dumpSession, type Dumped } from "#src/db/backup/dump.ts";
import type { Manifest } from "#src/db/backup/manifest.ts";
import { openConnection } from "#src/db/connection.ts";
import { writeBackupFile } from "./backup-file.ts";
import { sealBackup } from "./backup-seal.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { joinPostgres } from "./postgres.ts";
import { findRootKey, requireData } from "./root-key.ts";
import { version } from "./version.ts";

/** `patchbay backup`: beside a running service if there is one. Says on stdout what it wrote. */
export async function backUp(config: Config, file: string): Promise<void> {
  await requireData(config);
  const log = createLog("warn", fileDescriptor(2));
  const rootKey = await findRootKey(config, log);
  if (rootKey === undefined) throw new Error("there is no root key to seal the backup with");
  await using postgres = await joinPostgres(config, log);
  await using owner = openConnection(postgres.url, dumpSession);
  const dumped: Dumped = { tables: 0, rows: 0 };
  const pieces = dump(
    owner,
    {
      release: version(),
      madeAt: new Date(),
      seal: (digest) => sealBackup(rootKey, digest),
      begun: (manifest) => assertOpens(rootKey, manifest),
    },
    dumped,
  );
  const bytes = await writeBackupFile(file, pieces);
  process.stdout.write(
    `${file}: ${dumped.rows} rows of ${dumped.tables} tables, ${bytes} bytes\n` +
      `The root key (${rootKey.id}) is not in it, and without it the backup opens nothing: keep that key elsewhere.\n`,
  );
}

/** A backup that is sealed with another key than its content would be refused when it is needed. */
function assertOpens({ id }: RootKey, { rootKeyIds }: Manifest): void {
  if (rootKeyIds.length > 0 && !rootKeyIds.includes(id)) {
    throw new Error(`the root key (${id}) does not open this database, which needs ${rootKeyIds.join(", ")}`);
  }
}
