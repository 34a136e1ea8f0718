import { foundOrganization } from "#src/cli/found-organization.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { append } from "#src/audit/append.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Arrival } from "#src/eventlog/intake.ts";
import { newId } from "#src/platform/ids.ts";
import { openLogs } from "./open-logs.ts";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";

/** The logs by themselves, on a real database. */
export interface TestEventLog extends AsyncDisposable {
  readonly eventLog: EventLog;
  readonly database: Database;
  readonly orgId: string;
  readonly postgres: TestDatabase;
  /** Turns the clock, which stands still otherwise. */
  advance(milliseconds: number): void;
  /** Makes a log as a new channel would. */
  newLog(kept?: { retentionSeconds?: number; dedupSeconds?: number }): Promise<string>;
  /** A change of the organisation, with its audit event. */
  change(run: (tx: Tx) => Promise<void>): Promise<void>;
  /** The same logs as another process has them; `url` is another way to the same database. */
  replica(url?: string): Promise<EventLog>;
}

const week = 7 * 24 * 60 * 60;

/** Creates the logs of an organisation. */
export async function startEventLog({ eventStorageMib = 1_024 } = {}): Promise<TestEventLog> {
  const postgres = await createTestDatabase();
  const rootKey = localRootKey(newRootKeyText());
  let time = Date.now();
  const now = () => new Date(time);
  const closing = new AsyncDisposableStack();
  closing.use(postgres);

  const open = async (url = postgres.url) =>
    closing.use(await openLogs({ url, rootKey, now, eventStorageMib, poolSize: 6 }));
  const { database, keyring, eventLog } = await open();
  const { admin } = await foundOrganization({ database, rootKey }, "sandbox", "acme");
  const { orgId } = admin;
  return {
    ...{ eventLog, database, orgId, postgres },
    advance: (milliseconds) => (time += milliseconds),
    replica: async (url) => (await open(url)).eventLog,
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
    change: (run) =>
      database.change(orgId, async (tx) => {
        await append(tx, "service", { action: "channel.update", target: orgId, details: {} });
        await run(tx);
      }),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
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
