import { createLog } from "#src/cli/log.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { newId } from "#src/platform/ids.ts";
import { Secret } from "#src/platform/secret.ts";
import { webhookEndpoints, webhookSecrets } from "#src/webhooks/schema.ts";
import { signingSecretText } from "#src/webhooks/signing.ts";
import { secretOf } from "./deliveries.ts";
import { startService, type TestService } from "./service.ts";

/** A row of an endpoint, as far as a test cares. */
type EndpointParts = Partial<typeof webhookEndpoints.$inferInsert> & {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** The service, and endpoints that are put into its database. */
export interface WebhookService extends AsyncDisposable {
  readonly service: TestService;
  readonly rootKey: string;
  /** What every endpoint's deliveries are signed with, as text. */
  readonly secret: string;
  /** Makes an endpoint that reads the organisation's own logs from here on and selects `test.*`; answers its id. */
  endpoint(parts: EndpointParts): Promise<string>;
  /** Makes events of this type in the organisation's own log. */
  happen(type: string, subjects?: readonly string[]): Promise<void>;
  /** Does what is due, after this time. */
  run(afterMs?: number): Promise<void>;
  /** The endpoint as it is. */
  state(id: string): Promise<Record<string, unknown>>;
  rows(table: "webhook_parked" | "webhook_cursors"): Promise<Record<string, unknown>[]>;
}

/** Starts the service, whose webhooks go out when the test says so: `service.app.loops.webhooks.runOnce()`. */
export async function startWebhooks(
  options: Parameters<typeof startService>[0] = {},
): Promise<WebhookService> {
  const rootKey = newRootKeyText();
  const service = await startService({ ...options, rootKey });
  const { clock, org, postgres } = service;
  const log = createLog("silent", process.stderr);
  const database = createDatabase({ url: postgres.url, log, poolSize: 1 });
  const keyring = createKeyring({ database, rootKey: localRootKey(rootKey), log });
  const { orgId, apiKeyId: ownerKeyId } = org;

  return {
    service,
    rootKey,
    secret: signingSecretText(secretOf(7)),
    async endpoint({ headers, ...parts }) {
      const [id, at] = [newId("whe", clock.now()), clock.now()];
      const owner = { orgId, id, version: 1 };
      await keyring.sealing(orgId, (sealer) =>
        database.record(orgId, async (tx) => {
          const secret = await sealer.seal(tx, { ...owner, kind: "endpoint-secret" }, secretOf(7));
          const own = Secret.fromText(JSON.stringify(headers ?? {}));
          const sealed = headers && (await sealer.seal(tx, { ...owner, kind: "endpoint-header" }, own));
          await tx.insert(webhookEndpoints).values({
            ...{ orgId, id, environment: "sandbox", description: "", types: ["test.*"], pausedTypes: [] },
            ...{ ordering: "none", afterSchedule: "skip", body: "webhook", contentType: "application/json" },
            ...{
              maxInFlight: 8,
              keepSuccesses: false,
              headerNames: Object.keys(headers ?? {}),
              headersVersion: 1,
            },
            ...{ sealedHeaders: sealed?.bytes, headersKekVersion: sealed?.kekVersion },
            ...{ state: "active", ownerKeyId, version: 1, createdAt: at, updatedAt: at, failures: 0 },
            ...parts,
          });
          const { kekVersion, bytes } = secret;
          const of = { orgId, endpointId: id };
          await tx
            .insert(webhookSecrets)
            .values({ ...of, version: 1, kekVersion, sealed: bytes, createdAt: at });
        }),
      );
      await postgres.asOwner(
        `insert into webhook_cursors
         select $1, $2, 'service', coalesce((select seq from log_heads where org_id = $1 and log = 'service'), 0)
         union all select $1, $2, 'audit', (select seq from audit_heads where org_id = $1)`,
        [orgId, id],
      );
      return id;
    },
    async happen(type, subjects = ["one"]) {
      for (const subject of subjects) {
        await postgres.asOwner("select append_own_event($1, $2, $3, '{}'::json, $4)", [
          ...[orgId, type, subject, clock.now().toISOString()],
        ]);
      }
    },
    async run(afterMs = 0) {
      clock.advance(afterMs);
      await service.app.loops.webhooks.runOnce();
    },
    async state(id) {
      return (await postgres.asOwner("select * from webhook_endpoints where id = $1", [id]))[0] ?? {};
    },
    rows: (table) => postgres.asOwner(`select * from ${table} order by log, seq`),
    async [Symbol.asyncDispose]() {
      await database.close();
      await service[Symbol.asyncDispose]();
    },
  };
}
