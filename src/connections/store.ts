import {
  alias,
  and,
  arrayOverlaps,
  asc,
  eq,
  gt,
  gte,
  inArray,
  isNotNull,
  or,
  sql,
} from "#src/db/drizzle.cjs";
import { apiKeys } from "#src/api-keys/schema.ts";
import type { Sealed } from "#src/crypto/keyring.ts";
import { isKeyOf } from "#src/crypto/org-keys.ts";
import { orgKeys } from "#src/crypto/schema.ts";
import type { Tx } from "#src/db/database.ts";
import type { Caller, Viewer } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import { fallbackFromRow, type FallbackCredential } from "./fallback-store.ts";
import { visibleTo } from "./access.ts";
import { isConnectionId, type Connection, type ConnectionStatus } from "./connection.ts";
import { SlugTaken } from "./errors.ts";
import {
  connectionHealth,
  connections,
  connectionUsage,
  credentials,
  fallbackCredentials,
  oauthFlows,
  oauthGrants,
} from "./schema.ts";
import { bearerRecipe } from "#src/integrations/integration.ts";
import type { ServiceSlug } from "#src/integrations/slug.ts";

/** A connection's sealed key, and the base URL that it was stored for. */
export interface StoredCredential {
  readonly boundTo: string;
  /** Counts up with each key that is stored. */
  readonly version: number;
  readonly sealed: Sealed;
  /** `sha256:…` of an API key, `hmac-sha256:…` of anything else. */
  readonly fingerprint: string;
  /** The API key whose secret it is, if it was issued for the connection. */
  readonly principalKeyId: string | undefined;
  /** `token`: the bytes are the secret that is called `token`. `fields`: they are a JSON object of secrets by name. */
  readonly form: "token" | "fields";
  /** When the access token ends; undefined for what does not, or is not known to. */
  readonly expiresAt: Date | undefined;
  /** From when calls refresh it first; undefined for what is not refreshed before a 401. */
  readonly refreshAt: Date | undefined;
}

/** Makes upserts of one slug follow one another: the second sees, and records, what the first stored. */
export async function lockSlug(tx: Tx, viewer: Viewer, slug: ServiceSlug): Promise<void> {
  const name = JSON.stringify(["connection", viewer.orgId, viewer.environment, slug]);
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`);
}

/** One connection of the organisation. */
export async function getConnection(tx: Tx, viewer: Viewer, id: string): Promise<Connection | undefined> {
  const [row] = await selectConnections(tx).where(and(inView(viewer), eq(connections.id, id)));
  return row && fromRow(row);
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function getConnectionForUpdate(
  tx: Tx,
  viewer: Viewer,
  id: string,
): Promise<Connection | undefined> {
  const [row] = await selectConnections(tx)
    .where(and(inView(viewer), eq(connections.id, id)))
    .for("update", { of: connections });
  return row && fromRow(row);
}

/** What a call through a connection needs. */
export interface SealedConnection extends CallableConnection {
  /** Undefined as long as nobody has signed in. */
  readonly credential: StoredCredential | undefined;
  /** The organisation's key that the credential was sealed with, null if it was destroyed. */
  readonly wrappedKey: Buffer | null;
  /** What a call that was refused with 401 is tried again with; look at its end. */
  readonly fallback: (FallbackCredential & { readonly wrappedKey: Buffer | null }) | undefined;
  /** For a service principal: the service that may present it, as its key says. */
  readonly callerServiceSlug: string | undefined;
}

/** What a call asks of a connection. */
export type CallableConnection = Pick<
  Connection,
  | "orgId"
  | "id"
  | "slug"
  | "integration"
  | "authMethod"
  | "baseUrl"
  | "active"
  | "status"
  | "statusReason"
  | "recipe"
  | "params"
  | "ownerUserId"
  | "visibility"
  | "tags"
>;

/**
 * The connection that has the slug or the id, and its sealed key, in one statement: with two, the first could see the old base
 * URL and the second a new key, and the key would go to a URL that it was not stored for.
 */
export async function findSealed(tx: Tx, viewer: Viewer, ref: string): Promise<SealedConnection | undefined> {
  const { orgId } = connections;
  const { wrappedKey } = orgKeys;
  const { callerServiceSlug } = apiKeys;
  const fallbackKeys = alias(orgKeys, "fallback_keys");
  const [row] = await tx
    .select({
      connection: connections,
      credential: credentials,
      wrappedKey,
      callerServiceSlug,
      fallback: fallbackCredentials,
      fallbackKey: fallbackKeys.wrappedKey,
    })
    .from(connections)
    .leftJoin(credentials, and(eq(credentials.orgId, orgId), eq(credentials.connectionId, connections.id)))
    .leftJoin(orgKeys, isKeyOf(credentials.orgId, credentials.kekVersion))
    .leftJoin(fallbackCredentials, isFallbackOf(connections))
    .leftJoin(fallbackKeys, isKeyOf(fallbackCredentials.orgId, fallbackCredentials.kekVersion, fallbackKeys))
    .leftJoin(apiKeys, and(eq(apiKeys.orgId, credentials.orgId), eq(apiKeys.id, credentials.principalKeyId)))
    .where(and(inView(viewer), eq(isConnectionId(ref) ? connections.id : connections.slug, ref)));
  if (row === undefined) return undefined;
  return {
    ...rowFields(row.connection),
    wrappedKey: row.wrappedKey,
    credential: row.credential ? credentialFromRow(row.credential) : undefined,
    callerServiceSlug: row.callerServiceSlug ?? undefined,
    fallback: row.fallback ? { ...fallbackFromRow(row.fallback), wrappedKey: row.fallbackKey } : undefined,
  };
}

/** The connection that has the slug, with its row locked: a change or deletion comes before or after. */
export async function findBySlugForUpdate(
  tx: Tx,
  viewer: Viewer,
  slug: string,
): Promise<Connection | undefined> {
  const [row] = await selectConnections(tx)
    .where(and(inView(viewer), eq(connections.slug, slug)))
    .for("update", { of: connections });
  return row && fromRow(row);
}

/** Which connections a list is to show: those of which each given is true. */
export interface ConnectionFilter {
  readonly ids?: readonly string[];
  readonly integration?: string | undefined;
  readonly tag?: string | undefined;
  readonly owner?: string | undefined;
  readonly status?: ConnectionStatus | undefined;
}

/** The connections of the page that the caller may see, oldest first. */
export async function listConnections(
  tx: Tx,
  caller: Caller,
  { ids, integration, tag, owner, status }: ConnectionFilter,
  page: PageRequest,
): Promise<Connection[]> {
  const rows = await selectConnections(tx)
    .where(
      and(
        inView(caller),
        visibleTo(caller),
        gt(connections.id, page.after),
        ids === undefined ? undefined : inArray(connections.id, [...ids]),
        integration === undefined ? undefined : eq(connections.integration, integration),
        tag === undefined ? undefined : arrayOverlaps(connections.tags, [tag]),
        owner === undefined ? undefined : eq(connections.ownerUserId, owner),
        status === undefined ? undefined : eq(connections.status, status),
      ),
    )
    .orderBy(asc(connections.id))
    .limit(page.limit);
  return rows.map(fromRow);
}

/** How many of the organisation's connections, in each environment, are of the integration. */
export async function countConnections(tx: Tx, orgId: string, integration: string): Promise<number> {
  return tx.$count(connections, and(eq(connections.orgId, orgId), eq(connections.integration, integration)));
}

/** The integrations of all connections that the caller may see. */
export async function connectedIntegrations(tx: Tx, caller: Caller): Promise<string[]> {
  const { integration } = connections;
  const rows = await tx
    .selectDistinct({ integration })
    .from(connections)
    .where(and(inView(caller), visibleTo(caller)));
  return rows.map((row) => row.integration);
}

/**
 * The integrations of services that go by these names, as far as the caller may see a connection: the slug of a
 * connection, which may be of another integration than it sounds like, or else the integration itself.
 */
export async function integrationsNamed(
  tx: Tx,
  caller: Caller,
  names: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { slug, integration } = connections;
  const rows = await tx
    .selectDistinct({ slug, integration })
    .from(connections)
    .where(
      and(inView(caller), visibleTo(caller), or(inArray(slug, [...names]), inArray(integration, [...names]))),
    );
  const bySlug = new Map(rows.map((row) => [row.slug, row.integration]));
  const connected = new Set(rows.map((row) => row.integration));
  return new Map(
    names.flatMap((name) => {
      const found = bySlug.get(name) ?? (connected.has(name) ? name : undefined);
      return found === undefined ? [] : [[name, found]];
    }),
  );
}

/** A connection that its organisation calls by a slug. */
export type NamedConnection = Connection & { readonly slug: ServiceSlug };

/** The connections of the page that have a slug and that the caller may see, oldest first. */
export async function listNamed(tx: Tx, caller: Caller, page: PageRequest): Promise<NamedConnection[]> {
  const rows = await selectConnections(tx)
    .where(
      and(inView(caller), visibleTo(caller), isNotNull(connections.slug), gt(connections.id, page.after)),
    )
    .orderBy(asc(connections.id))
    .limit(page.limit);
  return rows.map(fromRow).filter(hasSlug);
}

/** Which connections with a slug are asked for. */
export interface SlugPage extends PageRequest {
  /** Whether the one with the slug `after` is, too. */
  readonly isIncluded?: boolean;
  /** Only the one with this slug. */
  readonly only?: string | undefined;
}

/** The connections that have a slug and that the caller may see, in its order. */
export async function listBySlug(
  tx: Tx,
  caller: Caller,
  { after, isIncluded = false, only, limit }: SlugPage,
): Promise<NamedConnection[]> {
  const { slug } = connections;
  const rows = await selectConnections(tx)
    .where(
      and(
        inView(caller),
        visibleTo(caller),
        isIncluded ? gte(slug, after) : gt(slug, after),
        only === undefined ? undefined : eq(slug, only),
      ),
    )
    .orderBy(asc(slug))
    .limit(limit);
  return rows.map(fromRow).filter(hasSlug);
}

/** Null is after no slug, so no statement that asks for those with one answers another. */
function hasSlug(connection: Connection): connection is NamedConnection {
  return connection.slug !== undefined;
}

/** Stores a new connection, due for its first probe at once. Throws `SlugTaken` if another one has its slug. */
export async function insertConnection(tx: Tx, connection: Connection): Promise<void> {
  const { orgId, id, environment, slug, baseUrl, active, createdAt, integration, authMethod } = connection;
  const inserted = await tx
    .insert(connections)
    .values({
      ...{ orgId, id, environment, baseUrl, active, createdAt, integration, authMethod },
      slug: slug ?? null,
      ...toRow(connection),
    })
    .onConflictDoNothing({ target: [connections.orgId, connections.environment, connections.slug] })
    .returning({ id: connections.id });
  if (inserted.length === 0) throw new SlugTaken(slug ?? id);
  await tx.insert(connectionHealth).values({ orgId, connectionId: id, nextDueAt: createdAt });
}

/** Writes what may change of a connection, and makes its probe due: the recorded health is of the old state. */
export async function saveConnection(tx: Tx, connection: Connection, now: Date): Promise<void> {
  const { orgId, id, baseUrl, active } = connection;
  await tx
    .update(connections)
    .set({ baseUrl, active, authMethod: connection.authMethod, ...toRow(connection) })
    .where(and(eq(connections.orgId, orgId), eq(connections.id, id)));
  await tx
    .update(connectionHealth)
    .set({ nextDueAt: now })
    .where(and(eq(connectionHealth.orgId, orgId), eq(connectionHealth.connectionId, id)));
}

/** Deletes the connection and, with it, its sealed key, health and usage. */
export async function deleteConnection(tx: Tx, viewer: Viewer, id: string): Promise<void> {
  await tx.delete(connections).where(and(inView(viewer), eq(connections.id, id)));
}

/**
 * The sealed key of a connection whose row is locked; undefined if it has none. Locked itself, too: whoever copies it
 * must not copy what is sealed anew meanwhile, since the key of the copy would be destroyed.
 */
export async function getCredential(
  tx: Tx,
  orgId: string,
  connectionId: string,
): Promise<StoredCredential | undefined> {
  const [row] = await tx
    .select()
    .from(credentials)
    .where(and(eq(credentials.orgId, orgId), eq(credentials.connectionId, connectionId)))
    .for("update");
  return row && credentialFromRow(row);
}

/** Stores the key in place of the previous one. */
export async function putCredential(
  tx: Tx,
  orgId: string,
  connectionId: string,
  credential: StoredCredential,
): Promise<void> {
  const values = {
    boundTo: credential.boundTo,
    version: credential.version,
    kekVersion: credential.sealed.kekVersion,
    sealed: credential.sealed.bytes,
    fingerprint: credential.fingerprint,
    principalKeyId: credential.principalKeyId ?? null,
    form: credential.form,
    expiresAt: credential.expiresAt ?? null,
    refreshAt: credential.refreshAt ?? null,
  };
  await tx
    .insert(credentials)
    .values({ orgId, connectionId, ...values })
    .onConflictDoUpdate({ target: [credentials.orgId, credentials.connectionId], set: values });
}

/** Ends an OAuth grant, and what is under way to get one: the connection has another credential. */
export async function deleteGrant(tx: Tx, ref: Pick<Connection, "orgId" | "id">): Promise<void> {
  const { orgId, id } = ref;
  await tx.delete(oauthGrants).where(and(eq(oauthGrants.orgId, orgId), eq(oauthGrants.connectionId, id)));
  await deleteFlows(tx, ref);
}

/** Ends authorizations that are under way. */
export async function deleteFlows(tx: Tx, { orgId, id }: Pick<Connection, "orgId" | "id">): Promise<void> {
  await tx.delete(oauthFlows).where(and(eq(oauthFlows.orgId, orgId), eq(oauthFlows.connectionId, id)));
}

function isFallbackOf({ orgId, id }: typeof connections) {
  return and(eq(fallbackCredentials.orgId, orgId), eq(fallbackCredentials.connectionId, id));
}

function inView(viewer: Viewer) {
  return and(eq(connections.orgId, viewer.orgId), eq(connections.environment, viewer.environment));
}

function selectConnections(tx: Tx) {
  return tx
    .select({
      connection: connections,
      health: connectionHealth,
      lastUsedAt: connectionUsage.lastUsedAt,
      expiresAt: credentials.expiresAt,
      fallbackUntil: fallbackCredentials.validUntil,
      requestedScopes: oauthGrants.requestedScopes,
      grantedScopes: oauthGrants.grantedScopes,
    })
    .from(connections)
    .leftJoin(
      credentials,
      and(eq(credentials.orgId, connections.orgId), eq(credentials.connectionId, connections.id)),
    )
    .leftJoin(fallbackCredentials, isFallbackOf(connections))
    .leftJoin(
      oauthGrants,
      and(eq(oauthGrants.orgId, connections.orgId), eq(oauthGrants.connectionId, connections.id)),
    )
    .leftJoin(
      connectionHealth,
      and(eq(connectionHealth.orgId, connections.orgId), eq(connectionHealth.connectionId, connections.id)),
    )
    .leftJoin(
      connectionUsage,
      and(eq(connectionUsage.orgId, connections.orgId), eq(connectionUsage.connectionId, connections.id)),
    );
}

/** What a row says of a credential. */
export function credentialFromRow(row: typeof credentials.$inferSelect): StoredCredential {
  return {
    boundTo: row.boundTo,
    version: row.version,
    sealed: { kekVersion: row.kekVersion, bytes: row.sealed },
    fingerprint: row.fingerprint,
    principalKeyId: row.principalKeyId ?? undefined,
    form: row.form,
    expiresAt: row.expiresAt ?? undefined,
    refreshAt: row.refreshAt ?? undefined,
  };
}

/** What may be absent, as columns. */
function toRow(connection: Connection) {
  return {
    recipe: connection.recipe === bearerRecipe ? null : connection.recipe,
    params: connection.params,
    ownerUserId: connection.ownerUserId ?? null,
    visibility: connection.visibility,
    name: connection.name ?? null,
    tags: [...connection.tags],
    metadata: connection.metadata,
    status: connection.status,
    statusReason: connection.statusReason ?? null,
  };
}

/** What a row says of a connection. */
export function rowFields(row: typeof connections.$inferSelect) {
  return {
    ...row,
    slug: (row.slug ?? undefined) as ServiceSlug | undefined,
    recipe: row.recipe ?? bearerRecipe,
    ownerUserId: row.ownerUserId ?? undefined,
    name: row.name ?? undefined,
    statusReason: row.statusReason ?? undefined,
  };
}

type Row = Awaited<ReturnType<typeof selectConnections>>[number];

function fromRow({ connection, health, requestedScopes: requested, ...row }: Row): Connection {
  return {
    ...rowFields(connection),
    lastHealthyAt: health?.lastHealthyAt ?? undefined,
    lastUsedAt: row.lastUsedAt ?? undefined,
    lastError: health === null ? undefined : errorFrom(health),
    lastCheckedAt: health?.lastCheckedAt ?? undefined,
    lastLatencyMs: health?.recentMs.at(-1) ?? undefined,
    certificateExpiresAt: health?.certificateExpiresAt ?? undefined,
    scopes: requested === null ? undefined : { requested, granted: row.grantedScopes ?? undefined },
    expiresAt: row.expiresAt ?? undefined,
    fallbackUntil: row.fallbackUntil ?? undefined,
  };
}

function errorFrom(health: typeof connectionHealth.$inferSelect): Connection["lastError"] {
  const { lastError: message, lastErrorStage: stage, lastErrorAt: at } = health;
  return message === null || stage === null || at === null ? undefined : { stage, message, at };
}
