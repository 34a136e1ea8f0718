import { randomBytes } from "node:crypto";
import { pino } from "pino";
import type { OAuthClients } from "#src/connections/oauth/client.ts";
import { sealGrant, type GrantSecrets } from "#src/connections/oauth/grant-secrets.ts";
import { createMetrics } from "#src/metrics/metrics.ts";
import { createOAuth } from "#src/connections/oauth/oauth.ts";
import { findSealed, putCredential, type SealedConnection } from "#src/connections/store.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import type { OAuth2Method, Recipe } from "#src/integrations/integration.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { createPublicUrl } from "#src/platform/public-url.ts";
import type { TestDatabase } from "./postgres.ts";

/** A method of which a test says what matters to it. */
export function oauth2(more: Partial<OAuth2Method>): OAuth2Method {
  return {
    grant: "authorization_code",
    pkce: "required",
    clientAuthentication: "none",
    scopeSeparator: " ",
    defaultScopes: [],
    refresh: "rotating",
    responseQuirks: [],
    ...more,
  };
}

/** How calls are made of a connection with the method. */
export function oauthRecipe(method: OAuth2Method): Recipe {
  return {
    version: 1,
    method: {
      id: "oauth2",
      type: "oauth2",
      label: "OAuth 2.0",
      oauth2: method,
      fields: [],
      inject: { headers: { Authorization: "Bearer {accessToken}" } },
    },
    allowedHosts: [],
    headers: {},
  };
}

/** What a connection is to be. */
export interface WantedConnection {
  readonly method: OAuth2Method;
  readonly id?: string;
  readonly baseUrl?: string;
  readonly status?: string;
  readonly slug?: string;
}

/** Makes a connection as an organisation that is about to authorize it has it, and a public client for it. */
export async function insertOAuthConnection(
  postgres: Pick<TestDatabase, "asOwner">,
  orgId: string,
  { method, baseUrl = "http://127.0.0.1:9", status = "PENDING_AUTHORIZATION", ...named }: WantedConnection,
): Promise<string> {
  const id = named.id ?? `scn_${randomBytes(13).toString("hex").toUpperCase()}`;
  const slug = named.slug ?? `custom:${id.slice(4, 24).toLowerCase()}`;
  await postgres.asOwner(
    `insert into connections (org_id, id, environment, slug, base_url, active, created_at, integration, auth_method,
       recipe, status) values ($1, $2, 'sandbox', $3, $4, true, now(), 'custom:svc', 'oauth2', $5, $6)`,
    [orgId, id, slug, baseUrl, JSON.stringify(oauthRecipe(method)), status],
  );
  await postgres.asOwner(
    `insert into oauth_clients (org_id, environment, integration, auth_method, client_id, bound_to, version, updated_at)
     values ($1, 'sandbox', 'custom:svc', 'oauth2', 'patchbay-test', $2, 1, now()) on conflict do nothing`,
    [orgId, method.tokenUrl ?? method.issuer ?? ""],
  );
  return id;
}

const anybody: OAuthClients = {
  get: () => Promise.resolve({ clientId: "patchbay-test", boundTo: "http://127.0.0.1" }),
};

/** What keeps tokens, on a database and with a clock of the test's own: a replica without its port. */
export function startOAuth(options: {
  url: string;
  rootKey: string;
  now?: () => Date;
  exchangeMs?: number;
  poolSize?: number;
}) {
  const { url, rootKey, now = () => new Date(), exchangeMs = 20_000, poolSize = 4 } = options;
  const log = pino({ level: "silent" });
  const database = createDatabase({ url, log, poolSize });
  const outbound = createOutbound({
    allow: parseOutboundAllow("127.0.0.1"),
    limits: { totalMs: exchangeMs, waitingCalls: 5_000 },
  });
  const keyring = createKeyring({ database, rootKey: localRootKey(rootKey), log });
  const oauth = createOAuth({
    ...{ database, keyring, outbound, log, now, oauthClients: anybody, environment: "sandbox" },
    change: (call, run) => database.change(call.caller?.orgId ?? "", run),
    publicUrl: createPublicUrl("http://127.0.0.1:9", false),
    oauthReturnOrigins: [],
    monotonicNow: () => performance.now(),
    meter: createMetrics(),
  });
  const viewer = (orgId: string) => ({ orgId, environment: "sandbox" as const, userId: undefined });

  return {
    database,
    ...oauth,
    async find(orgId: string, id: string): Promise<SealedConnection> {
      const found = await database.read(orgId, (tx) => findSealed(tx, viewer(orgId), id));
      if (found === undefined) throw new Error(`${id} has no credential`);
      return found;
    },
    /** Stores tokens as if the service had just given them. */
    give(
      orgId: string,
      id: string,
      secrets: GrantSecrets,
      times: { expiresAt?: Date; refreshAt?: Date } = {},
    ) {
      return keyring.sealing(orgId, (sealer) =>
        database.record(orgId, async (tx) => {
          const sealed = await sealGrant(sealer, tx, { orgId, id }, 1, secrets);
          await putCredential(tx, orgId, id, {
            ...sealed,
            boundTo: "http://127.0.0.1:9",
            principalKeyId: undefined,
            form: "fields",
            expiresAt: times.expiresAt,
            refreshAt: times.refreshAt,
          });
        }),
      );
    },
    /** The tokens of a connection in the clear. */
    async tokensOf({ orgId, id, credential, wrappedKey }: SealedConnection): Promise<GrantSecrets> {
      if (credential === undefined) throw new Error("it has no tokens");
      const owner = { orgId, kind: "connection", id, version: credential.version } as const;
      if (wrappedKey === null) throw new Error("the key is gone");
      using secret = await keyring.open(owner, credential.sealed, wrappedKey);
      return JSON.parse(secret.reveal().toString()) as GrantSecrets;
    },
    async [Symbol.asyncDispose]() {
      await oauth.close();
      await outbound.close();
      await database.close();
    },
  };
}

/** A replica without its port. */
export type OAuthReplica = ReturnType<typeof startOAuth>;
