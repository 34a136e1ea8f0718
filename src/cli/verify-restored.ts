import { append } from "#src/audit/append.ts";
import { createVerifyRecord } from "#src/audit/verify-record.ts";
import type { RootKeyParts } from "#src/crypto/named-root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { assertServingRole } from "#src/db/assert-serving-role.ts";
import type { Manifest } from "#src/db/backup/manifest.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { findRecords } from "./verify-audit.ts";

/** What was restored, and the keys that should open it. */
interface RestoredDatabase {
  readonly url: string;
  readonly log: Log;
  readonly keys: RootKeyParts | undefined;
}

/**
 * Recomputes each record of changes, opens the canary, and writes into each record that it was restored: what came after
 * the backup is gone from it, and readers must be able to see that. Answers how many events it recomputed.
 */
export async function verifyRestored(restored: RestoredDatabase, manifest: Manifest): Promise<bigint> {
  const { url, log, keys } = restored;
  await using owner = openConnection(url, { application_name: "patchbay restore" });
  await using opened = new AsyncDisposableStack();
  const database = createDatabase({ url, log });
  opened.defer(() => database.close());
  await assertServingRole(database);
  if (keys !== undefined && manifest.rootKeyIds.length > 0) {
    await loadPepper(database, keys.rootKey, () => new Date(), keys.secondRootKey);
  }
  let events = 0n;
  for (const orgId of await findRecords(owner)) {
    events += await verifiedEvents(database, orgId);
    await database.change(orgId, (tx) =>
      append(tx, "service", {
        action: "backup.restore",
        target: orgId,
        details: { backupMadeAt: manifest.madeAt, release: manifest.release },
      }),
    );
  }
  return events;
}

async function verifiedEvents(database: Database, orgId: string): Promise<bigint> {
  const verdict = await createVerifyRecord(database)(orgId);
  if ("fault" in verdict) {
    const { seq, problem } = verdict.fault;
    throw new Error(
      `the audit log of ${orgId} is not as it was recorded (event ${seq}: ${problem}), and was not when the backup ` +
        "was made: restore an earlier one",
    );
  }
  return verdict.verified;
}
