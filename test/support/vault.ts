import { createLog } from "#src/cli/log.ts";
import { createKeyUpkeep } from "#src/crypto/key-upkeep.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import { rewrapOrgKeys, rewrapServiceKeys } from "#src/crypto/rewrap.ts";
import { localRootKey, type RootKey } from "#src/crypto/root-key.ts";
import { createKeyRotation } from "#src/crypto/rotation.ts";
import { firstPlace, lockSealedRows, tableName } from "#src/crypto/sealed-column.ts";
import { insertFlow } from "#src/connections/oauth/flow-store.ts";
import { newToken, openFlow, withSecret } from "#src/connections/oauth/flow.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { sealedColumns } from "#src/sealed-columns.ts";
import type { TestDatabase } from "./postgres.ts";
import type { Tenant } from "./service.ts";

/** A root key, or its text. */
type GivenRootKey = string | RootKey;

/** What an operator's command has: the database and the root keys, without a service. */
export function openVault(
  postgres: Pick<TestDatabase, "url">,
  rootKey: GivenRootKey,
  secondRootKey?: GivenRootKey,
  through: (database: Database) => Database = (database) => database,
) {
  const lines: string[] = [];
  const log = createLog("warn", { write: (line: string) => void lines.push(line) });
  const database = through(createDatabase({ url: postgres.url, log }));
  const parts = {
    ...{ database, log, sealedColumns, now: () => new Date() },
    rootKey: opened(rootKey),
    secondRootKey: secondRootKey === undefined ? undefined : opened(secondRootKey),
  };
  const keyring = createKeyring(parts);
  return {
    ...{ database, keyring },
    rotation: createKeyRotation(parts),
    upkeep: createKeyUpkeep(parts),
    rewrapOrgKeys: (orgId: string) => rewrapOrgKeys(parts, orgId),
    rewrapServiceKeys: () => rewrapServiceKeys(parts),
    logged: () => lines.join(""),

    /** All secrets of the organisation in the clear, by table, owner and version. */
    async secretsOf(orgId: string): Promise<ReadonlyMap<string, string>> {
      const secrets = new Map<string, string>();
      for (const column of sealedColumns) {
        const wanted = { orgId, beforeVersion: 1_000_000, after: firstPlace, limit: 10_000, waits: true };
        const rows = await database.record(orgId, (tx) => lockSealedRows(tx, column, wanted));
        for (const { owner, kekVersion, bytes } of rows) {
          const wrapped = await database.read(orgId, (tx) => wrappedKeyOf(tx, orgId, kekVersion));
          using secret = await keyring.open(owner, { kekVersion, bytes }, wrapped);
          const name = `${tableName(column)} ${owner.id} ${owner.version}`;
          secrets.set(name, secret.reveal().toString("hex"));
        }
      }
      return secrets;
    },

    /** A row of `oauth_flows` that has a secret, as an authorization under way has. */
    async beginFlow(orgId: string, connectionId: string, text: string): Promise<void> {
      const expiresAt = new Date(Date.now() + 600_000);
      const carried = {
        orgId,
        connectionId,
        userId: null,
        apiKeyId: null,
        scopes: [],
        returnTo: null,
        expiresAt,
      };
      await keyring.sealing(orgId, (sealer) =>
        database.record(orgId, async (tx) => {
          const flow = openFlow(newToken(), "callback", carried);
          await insertFlow(tx, await withSecret(sealer, tx, flow, text), new Date());
        }),
      );
    },

    [Symbol.asyncDispose]: () => database.close(),
  };
}

function opened(rootKey: GivenRootKey): RootKey {
  return typeof rootKey === "string" ? localRootKey(rootKey) : rootKey;
}

/** The operator's side, opened. */
export type Vault = ReturnType<typeof openVault>;

/** Stores a secret of every kind there is; answers the id of the connection `custom:bank`. */
export async function fillVault(
  vault: Vault,
  { client, orgId }: Tenant,
  upstreamUrl: string,
): Promise<string> {
  const put = (apiKey: string) =>
    client.connections.upsertServiceConnection({
      ...{ serviceSlug: "custom:bank", baseUrl: upstreamUrl, apiKey },
      ...(apiKey !== "first" && { fallbackSeconds: 3_600 }),
    });
  await put("first");
  const { connection } = await put("second");
  const id = connection?.id ?? "";
  await vault.beginFlow(orgId, id, "a verifier");
  await client.integrations.putOAuthClient({
    ...{ slug: "github", authMethod: "oauth2", clientId: "c", clientSecret: "a-client-secret" },
  });
  await client.channels.createChannel({
    name: "Stripe",
    source: { case: "webhook", value: { preset: "stripe" } },
    secret: "whsec_given_by_the_vendor",
  });
  await client.webhooks.createWebhookEndpoint({
    ...{ url: "https://shop.example", types: ["audit.webhook.*"] },
    headers: { "x-shop": "a header" },
  });
  return id;
}

/** How many rows of each table are sealed with which version of the organisation's key: `<table> <version>`. */
export async function versionsOf(postgres: TestDatabase, orgId: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const column of sealedColumns) {
    const table = tableName(column);
    const rows = await postgres.asOwner(
      `select ${column.kekVersion.name} as version, count(*)::integer as n from ${table}
       where org_id = $1 and ${column.kekVersion.name} is not null group by 1`,
      [orgId],
    );
    for (const row of rows) counts[`${table} ${String(row["version"])}`] = Number(row["n"]);
  }
  return counts;
}
