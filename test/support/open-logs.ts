import { createLog } from "#src/cli/log.ts";
import { createKeyring, type Keyring } from "#src/crypto/keyring.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { createEventLog, type EventLog } from "#src/eventlog/eventlog.ts";
import { createMetrics } from "#src/metrics/metrics.ts";

/** The logs of a database, as another replica of the service has them. */
export interface OpenedLogs extends AsyncDisposable {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly eventLog: EventLog;
}

/** Opens the logs that stand in the database. */
export async function openLogs(parts: {
  readonly url: string;
  readonly rootKey: RootKey;
  readonly now: () => Date;
  readonly poolSize?: number;
  readonly eventStorageMib?: number;
}): Promise<OpenedLogs> {
  const { url, rootKey, now, poolSize = 3, eventStorageMib = 1_024 } = parts;
  const log = createLog("silent", process.stderr);
  const database = createDatabase({ url, log, poolSize });
  const keyring = createKeyring({ database, rootKey, log });
  const eventLog = await createEventLog({
    database,
    keyring,
    eventStorageMib,
    meter: createMetrics(),
    log,
    now,
  });
  return { database, keyring, eventLog, [Symbol.asyncDispose]: () => database.close() };
}
