import { randomBytes } from "node:crypto";
import { append } from "#src/audit/append.ts";
import { createLog } from "#src/cli/log.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { createEventLog } from "#src/eventlog/eventlog.ts";
import type { Arrival } from "#src/eventlog/intake.ts";
import { newId } from "#src/platform/ids.ts";
import { arrival } from "../support/event-log.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Tenant, type TestService } from "../support/service.ts";

/** The service, and logs of its database that a test fills by itself. */
export interface ServiceWithLogs extends AsyncDisposable {
  readonly service: TestService;
  /** A second replica, with a clock of its own. */
  readonly replica: () => Promise<TestService>;
  /** Makes a log as a new channel would. */
  newLog(tenant?: Tenant): Promise<string>;
  /** Stores events in a log, one for each of these. */
  send(log: string, ...events: readonly Partial<Arrival>[]): Promise<void>;
}

const week = 7 * 24 * 60 * 60;

export async function startServiceWithLogs(): Promise<ServiceWithLogs> {
  const postgres = await createTestDatabase();
  const rootKey = randomBytes(32).toString("base64");
  const service = await startService({ postgres, rootKey });
  const replicas = [service];
  const log = createLog("silent", process.stderr);
  const database = createDatabase({ url: postgres.url, log, poolSize: 4 });
  const keyring = createKeyring({ database, rootKey: localRootKey(rootKey), log });
  const eventLog = await createEventLog({
    ...{ database, keyring, log, eventStorageMib: 1024 },
    now: service.clock.now,
  });
  const kept = { retentionSeconds: week, dedupSeconds: week };
  const owners = new Map<string, string>();

  return {
    service,
    async replica() {
      const other = await startService({ postgres, rootKey });
      replicas.push(other);
      return other;
    },
    async newLog({ orgId } = service.org) {
      const id = newId("chn", service.clock.now());
      await eventLog.prepare(kept);
      await keyring.sealing(orgId, (sealer) =>
        database.change(orgId, async (tx) => {
          await eventLog.create(sealer, tx, orgId, id, kept);
          await append(tx, "service", { action: "channel.create", target: id, details: {} });
        }),
      );
      owners.set(id, orgId);
      return id;
    },
    async send(log, ...events) {
      await eventLog.accept(
        owners.get(log) ?? "",
        events.map((event, i) => arrival(log, { id: String(i), ...event })),
      );
    },
    async [Symbol.asyncDispose]() {
      for (const one of replicas) await one[Symbol.asyncDispose]();
      await database.close();
      await postgres[Symbol.asyncDispose]();
    },
  };
}
