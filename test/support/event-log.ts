import { foundOrganization } from "#src/cli/found-organization.ts";
import { createLog } from "#src/cli/log.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { append } from "#src/audit/append.ts";
import { createEventLog, type EventLog } from "#src/eventlog/eventlog.ts";
import type { Arrival } from "#src/eventlog/intake.ts";
import { newId } from "#src/platform/ids.ts";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";

/** The logs by themselves, on a real database. */
export interface TestEventLog extends AsyncDisposable {
  readonly eventLog: EventLog;
  readonly orgId: string;
  readonly postgres: TestDatabase;
  /** Makes a log as a new channel would. */
  newLog(kept?: { retentionSeconds?: number; dedupSeconds?: number }): Promise<string>;
}

const week = 7 * 24 * 60 * 60;

/** Creates the logs of an organisation. */
export async function startEventLog(): Promise<TestEventLog> {
  const postgres = await createTestDatabase();
  const log = createLog("silent", process.stderr);
  const database = createDatabase({ url: postgres.url, log, poolSize: 6 });
  const rootKey = localRootKey(newRootKeyText());
  const now = () => new Date();
  const keyring = createKeyring({ database, rootKey, log });
  const { admin } = await foundOrganization({ database, rootKey }, "sandbox", "acme");
  const eventLog = await createEventLog({ database, keyring, log, now });
  const { orgId } = admin;
  return {
    ...{ eventLog, orgId, postgres },
    async newLog({ retentionSeconds = week, dedupSeconds = week } = {}) {
      const kept = { retentionSeconds, dedupSeconds };
      const id = newId("chn", now());
      await eventLog.prepare(kept);
      await keyring.sealing(orgId, (sealer) =>
        database.change(orgId, async (tx) => {
          await eventLog.create(sealer, tx, orgId, id, kept);
          await append(tx, "service", { action: "channel.create", target: id, details: {} });
        }),
      );
      return id;
    },
    async [Symbol.asyncDispose]() {
      await database.close();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** What came for a log, with as much as a test cares for. */
export function arrival(log: string, parts: Partial<Arrival> = {}): Arrival {
  return {
    ...{
      log,
      key: undefined,
      id: "1",
      source: "/test",
      type: "test.happened",
      extensions: {},
      verified: "none",
    },
    data: Buffer.from("{}"),
    ...parts,
  };
}
