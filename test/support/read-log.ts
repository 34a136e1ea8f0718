import { createLog } from "#src/cli/log.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { createEventLog } from "#src/eventlog/eventlog.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { TestService } from "./service.ts";

/** Reads the logs of a service from its database. */
export interface LogReader extends AsyncDisposable {
  /** All events of the log that belongs to the organisation the service starts with. */
  read(log: string): Promise<readonly LoggedEvent[]>;
}

/** Opens the logs of a service that was started with the root key. */
export async function readLogsOf(service: TestService, rootKey: RootKey): Promise<LogReader> {
  const log = createLog("silent", process.stderr);
  const database = createDatabase({ url: service.postgres.url, log, poolSize: 2 });
  const keyring = createKeyring({ database, rootKey, log });
  const eventLog = await createEventLog({
    ...{ database, keyring, log },
    eventStorageMib: 1024,
    now: service.clock.now,
  });
  const all = { after: 0, limit: 1_000, maxBytes: 100_000_000 };
  return {
    read: (name) => eventLog.read(service.org.orgId, name, all),
    [Symbol.asyncDispose]: () => database.close(),
  };
}
