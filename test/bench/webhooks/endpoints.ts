import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { insertOrgKey, newOrgKey } from "#src/crypto/org-keys.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import type { Database } from "#src/db/database.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";
import { orgs } from "#src/directory/schema.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { newId } from "#src/platform/ids.ts";
import type { Loop } from "#src/platform/loop.ts";
import type { Deliver } from "#src/webhooks/delivery.ts";
import { createDispatch } from "#src/webhooks/dispatch.ts";
import { webhookCursors, webhookEndpoints, webhookSecrets } from "#src/webhooks/schema.ts";
import { newSigningSecret } from "#src/webhooks/signing.ts";
import { openLogs } from "../../support/open-logs.ts";

/** Endpoints of many organisations, on an embedded Postgres with its usual settings, fsync among them. */
export interface BenchEndpoints extends AsyncDisposable {
  readonly url: string;
  readonly dataDir: string;
  readonly owner: Connection;
  readonly database: Database;
  readonly eventLog: EventLog;
  readonly orgIds: readonly string[];
  /** How many each organisation has; they select `all.*`, and `one.<place>` each. */
  readonly each: number;
  /** Sends to them, by this function instead of the network. */
  dispatch(deliver: Deliver): Loop;
}

const log = pino({ level: "silent" });
const now = () => new Date();
const environment = "sandbox";

export async function startEndpoints(size: { organisations: number; each: number }): Promise<BenchEndpoints> {
  const { each } = size;
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const closing = new AsyncDisposableStack();
  closing.defer(() => rm(dataDir, { recursive: true }));
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  closing.defer(() => postgres.stop());
  const { url } = postgres;
  await migrate({ url, log });
  const owner = openConnection(url, { application_name: "bench" });
  closing.use(owner);
  const rootKey = localRootKey(newRootKeyText());
  const { database, keyring, eventLog } = closing.use(
    await openLogs({ url, rootKey, now, poolSize: 6, eventStorageMib: 1_000_000 }),
  );
  await eventLog.upkeep.runOnce();

  async function organisation(): Promise<string> {
    const [orgId, at] = [newId("org", now()), now()];
    const kek = await newOrgKey(rootKey, orgId, at);
    await database.record(orgId, async (tx) => {
      await tx.insert(orgs).values({ id: orgId, name: "bench", createdAt: at });
      await insertOrgKey(tx, kek);
    });
    await keyring.sealing(orgId, (sealer) =>
      database.record(orgId, async (tx) => {
        const ids = Array.from({ length: each }, () => newId("whe", at));
        await tx.insert(webhookEndpoints).values(ids.map((id, place) => endpointRow(orgId, id, place, at)));
        const secrets = [];
        for (const id of ids) {
          const of = { orgId, kind: "endpoint-secret", id, version: 1 } as const;
          const { kekVersion, bytes: sealed } = await sealer.seal(tx, of, newSigningSecret());
          secrets.push({ orgId, endpointId: id, version: 1, kekVersion, sealed, createdAt: at });
        }
        await tx.insert(webhookSecrets).values(secrets);
        const none = { orgId, log: "service", seq: 0, previous: null };
        await tx.insert(webhookCursors).values(ids.map((endpointId) => ({ ...none, endpointId })));
      }),
    );
    return orgId;
  }

  const orgIds: string[] = [];
  for (let i = 0; i < size.organisations; i++) orgIds.push(await organisation());
  await owner.run("vacuum analyze webhook_endpoints, webhook_cursors, webhook_secrets");
  return {
    ...{ url, dataDir, owner, database, eventLog, orgIds, each },
    dispatch: (deliver) => createDispatch({ database, keyring, eventLog, deliver, environment, log, now }),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

function endpointRow(
  orgId: string,
  id: string,
  place: number,
  at: Date,
): typeof webhookEndpoints.$inferInsert {
  return {
    ...{ orgId, id, environment, description: "", types: ["all.*", `one.${place}`], pausedTypes: [] },
    ...{
      url: `https://${id.toLowerCase()}.example/`,
      ordering: "none",
      afterSchedule: "skip",
      body: "webhook",
    },
    ...{
      contentType: "application/json",
      maxInFlight: 8,
      keepSuccesses: true,
      headerNames: [],
      headersVersion: 1,
    },
    ...{ state: "active", ownerKeyId: "key", version: 1, createdAt: at, updatedAt: at, failures: 0 },
  };
}
