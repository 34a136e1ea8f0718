import { and, asc, desc, eq, gt, inArray, sql } from "drizzle-orm";
import type { Tx } from "#src/db/database.ts";
import type { Scope } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import { inOrder, type Use } from "#src/platform/usage-log.ts";
import type { ApiKey, KeySecret, PresentedKey } from "./api-key.ts";
import { apiKeys, apiKeySecrets } from "./schema.ts";

/** What the presented secret was issued for, in whichever organisation; undefined if no key has this hash. */
export async function findPresented(tx: Tx, secretHash: Buffer): Promise<PresentedKey | undefined> {
  // The caller's organisation is not known before its key is, so row security would show nothing:
  // this function looks past it, for one exact hash at a time.
  const rows = await tx.execute<PresentedRow>(sql`
    select org_id, key_id, name, environment, array_to_json(scopes)::text as scopes, active_user_id,
      extract(epoch from expires_at)::float8 * 1000 as expires_ms,
      extract(epoch from revoked_at)::float8 * 1000 as revoked_ms,
      extract(epoch from valid_until)::float8 * 1000 as valid_until_ms, rate_limit_per_minute
    from find_api_key(${secretHash})`);
  const row = rows[0];
  return row && fromPresentedRow(row);
}

interface PresentedRow extends Record<string, unknown> {
  org_id: string;
  key_id: string;
  name: string;
  environment: "sandbox" | "live";
  scopes: string;
  active_user_id: string | null;
  expires_ms: number | null;
  revoked_ms: number | null;
  valid_until_ms: number | null;
  rate_limit_per_minute: number | null;
}

function fromPresentedRow(row: PresentedRow): PresentedKey {
  return {
    orgId: row.org_id,
    id: row.key_id,
    name: row.name,
    environment: row.environment,
    scopes: JSON.parse(row.scopes) as string[],
    activeUserId: row.active_user_id ?? undefined,
    expiresAt: dateFrom(row.expires_ms),
    revokedAt: dateFrom(row.revoked_ms),
    validUntil: dateFrom(row.valid_until_ms),
    rateLimitPerMinute: row.rate_limit_per_minute ?? undefined,
  };
}

function dateFrom(milliseconds: number | null): Date | undefined {
  return milliseconds === null ? undefined : new Date(milliseconds);
}

/** Stores a new key with its secrets. */
export async function insertKey(tx: Tx, key: ApiKey): Promise<void> {
  await tx.insert(apiKeys).values({
    orgId: key.orgId,
    id: key.id,
    name: key.name,
    environment: key.environment,
    scopes: [...key.scopes],
    actAsUserId: key.actAsUserId ?? null,
    createdAt: key.createdAt,
    expiresAt: key.expiresAt ?? null,
    rateLimitPerMinute: key.rateLimitPerMinute ?? null,
  });
  await saveSecrets(tx, key);
}

/** Stores the secrets that are new, and until when the others are good. */
export async function saveSecrets(tx: Tx, key: ApiKey): Promise<void> {
  const rows = key.secrets.map(({ hash, hint, createdAt, validUntil }) => ({
    secretHash: hash,
    orgId: key.orgId,
    keyId: key.id,
    hint,
    createdAt,
    validUntil: validUntil ?? null,
  }));
  await tx
    .insert(apiKeySecrets)
    .values(rows)
    .onConflictDoUpdate({ target: apiKeySecrets.secretHash, set: { validUntil: sql`excluded.valid_until` } });
}

/** One key of the organisation. */
export async function getKey(tx: Tx, scope: Scope, id: string): Promise<ApiKey | undefined> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inScope(scope), eq(apiKeys.id, id)));
  return (await withSecrets(tx, scope, rows))[0];
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function getKeyForUpdate(tx: Tx, scope: Scope, id: string): Promise<ApiKey | undefined> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inScope(scope), eq(apiKeys.id, id)))
    .for("update");
  return (await withSecrets(tx, scope, rows))[0];
}

/** Keys after the one that the page starts behind, oldest first. */
export async function listKeys(tx: Tx, scope: Scope, page: PageRequest): Promise<ApiKey[]> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inScope(scope), gt(apiKeys.id, page.after)))
    .orderBy(asc(apiKeys.id))
    .limit(page.limit);
  return withSecrets(tx, scope, rows);
}

/** Writes what may change of a key. */
export async function saveKey(tx: Tx, key: ApiKey): Promise<void> {
  await tx
    .update(apiKeys)
    .set({
      name: key.name,
      scopes: [...key.scopes],
      actAsUserId: key.actAsUserId ?? null,
      expiresAt: key.expiresAt ?? null,
      revokedAt: key.revokedAt ?? null,
      rateLimitPerMinute: key.rateLimitPerMinute ?? null,
    })
    .where(and(inScope(key), eq(apiKeys.id, key.id)));
}

/** Notes when secrets were last used, by their hashes; an older time never overwrites a newer one. */
export async function recordUse(tx: Tx, orgId: string, uses: ReadonlyMap<string, Use>): Promise<void> {
  const rows = JSON.stringify(inOrder(uses).map(([hash, use]) => ({ hash, at: use.lastAt })));
  await tx.execute(sql`
    update ${apiKeySecrets} as known
    set last_used_at = greatest(known.last_used_at, used.at)
    from json_to_recordset(${rows}::json) as used (hash text, at timestamptz)
    where known.org_id = ${orgId} and known.secret_hash = decode(used.hash, 'hex')`);
}

// A deployment manages the keys of its own environment only, also where two share a database.
function inScope({ orgId, environment }: Scope) {
  return and(eq(apiKeys.orgId, orgId), eq(apiKeys.environment, environment));
}

type KeyRow = typeof apiKeys.$inferSelect;
type SecretRow = typeof apiKeySecrets.$inferSelect;

/** The keys with all that may be presented for them, newest first. */
async function withSecrets(tx: Tx, { orgId }: Scope, keys: readonly KeyRow[]): Promise<ApiKey[]> {
  if (keys.length === 0) return [];
  const ids = keys.map(({ id }) => id);
  const rows = await tx
    .select()
    .from(apiKeySecrets)
    .where(and(eq(apiKeySecrets.orgId, orgId), inArray(apiKeySecrets.keyId, ids)))
    // The newest has no end; of two made in one instant, the one that ends later is the newer.
    .orderBy(desc(apiKeySecrets.createdAt), sql`${apiKeySecrets.validUntil} desc nulls first`);
  const byKey = Map.groupBy(rows, ({ keyId }) => keyId);
  return keys.map((key) => fromRow(key, byKey.get(key.id) ?? []));
}

function fromRow(row: KeyRow, secrets: readonly SecretRow[]): ApiKey {
  return {
    orgId: row.orgId,
    id: row.id,
    name: row.name,
    environment: row.environment,
    scopes: row.scopes,
    actAsUserId: row.actAsUserId ?? undefined,
    secrets: secrets.map(secretFromRow),
    createdAt: row.createdAt,
    expiresAt: row.expiresAt ?? undefined,
    revokedAt: row.revokedAt ?? undefined,
    rateLimitPerMinute: row.rateLimitPerMinute ?? undefined,
  };
}

function secretFromRow({ secretHash, hint, createdAt, validUntil, lastUsedAt }: SecretRow): KeySecret {
  return {
    hash: secretHash,
    hint,
    createdAt,
    validUntil: validUntil ?? undefined,
    lastUsedAt: lastUsedAt ?? undefined,
  };
}
