import { and, asc, desc, eq, getTableColumns, gt, inArray, lte, or, sql } from "drizzle-orm";
import type { Tx } from "#src/db/database.ts";
import type { Environment, Scope } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import type { Use } from "#src/platform/usage-log.ts";
import { addressCheck } from "./addresses.ts";
import type { ApiKey, KeySecret, PresentedKey } from "./api-key.ts";
import { apiKeys, apiKeySecrets } from "./schema.ts";

/** What the presented secret was issued for, in whichever organisation; undefined if no key has this hash. */
export async function findPresented(
  tx: Tx,
  hashes: { peppered: Buffer; plain: Buffer },
): Promise<PresentedKey | undefined> {
  // The caller's organisation is not known before its key is, so row security would show nothing:
  // this function looks past it, for one exact hash at a time.
  const rows = await tx.execute<PresentedRow>(sql`
    select org_id, key_id, encode(secret_hash, 'hex') as secret_hash, name, environment,
      array_to_json(scopes)::text as scopes, active_user_id,
      extract(epoch from expires_at)::float8 * 1000 as expires_ms,
      extract(epoch from revoked_at)::float8 * 1000 as revoked_ms,
      extract(epoch from valid_until)::float8 * 1000 as valid_until_ms, rate_limit_per_minute,
      caller_service_slug, array_to_json(allowed_cidrs)::text as allowed_cidrs, metadata::text as metadata
    from find_api_key(${hashes.peppered}, ${hashes.plain})`);
  const row = rows[0];
  return row && fromPresentedRow(row);
}

interface PresentedRow extends Record<string, unknown> {
  org_id: string;
  key_id: string;
  secret_hash: string;
  name: string;
  environment: "sandbox" | "live";
  scopes: string;
  active_user_id: string | null;
  expires_ms: number | null;
  revoked_ms: number | null;
  valid_until_ms: number | null;
  rate_limit_per_minute: number | null;
  caller_service_slug: string | null;
  allowed_cidrs: string;
  metadata: string;
}

function fromPresentedRow(row: PresentedRow): PresentedKey {
  return {
    orgId: row.org_id,
    id: row.key_id,
    secretHash: row.secret_hash,
    name: row.name,
    environment: row.environment,
    scopes: JSON.parse(row.scopes) as string[],
    activeUserId: row.active_user_id ?? undefined,
    expiresAt: dateFrom(row.expires_ms),
    revokedAt: dateFrom(row.revoked_ms),
    validUntil: dateFrom(row.valid_until_ms),
    rateLimitPerMinute: row.rate_limit_per_minute ?? undefined,
    callerServiceSlug: row.caller_service_slug ?? undefined,
    allows: addressCheck(JSON.parse(row.allowed_cidrs) as string[]),
    metadata: JSON.parse(row.metadata) as Record<string, string>,
  };
}

/** Whether a key was ever imported into the environment. */
export async function importedKeysExist(tx: Tx, environment: Environment): Promise<boolean> {
  const [row] = await tx.execute<{ exist: boolean }>(
    sql`select imported_keys_exist(${environment}) as exist`,
  );
  return row?.exist === true;
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
    kind: key.kind,
    callerServiceSlug: key.callerServiceSlug ?? null,
    allowedCidrs: [...key.allowedCidrs],
    metadata: key.metadata,
  });
  // Fails for a secret that any organisation has already: it must not be taken from that one's key.
  await tx.insert(apiKeySecrets).values(secretRowsOf(key));
}

/** Stores the secrets that are new, and until when the others are good. */
export async function saveSecrets(tx: Tx, key: ApiKey): Promise<void> {
  await tx
    .insert(apiKeySecrets)
    .values(secretRowsOf(key))
    .onConflictDoUpdate({ target: apiKeySecrets.secretHash, set: { validUntil: sql`excluded.valid_until` } });
}

function secretRowsOf(key: ApiKey) {
  const rows = key.secrets.map(({ hash, hashKind, hint, createdAt, validUntil }) => ({
    secretHash: hash,
    hashKind,
    orgId: key.orgId,
    keyId: key.id,
    hint,
    createdAt,
    validUntil: validUntil ?? null,
  }));
  // In the order in which `recordUse` locks them, or the two could lock each other out.
  return rows.toSorted((a, b) => Buffer.compare(a.secretHash, b.secretHash));
}

/** One key of the organisation. */
export async function getKey(tx: Tx, scope: Scope, id: string): Promise<ApiKey | undefined> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inScope(scope), eq(apiKeys.id, id)));
  return (await withSecrets(tx, scope, rows))[0];
}

/**
 * Locks the row, so that two changes cannot both start from the same state. Not against references to it: a change
 * that its caller named refers to the caller's own key, and two that rotate their own would wait for each other.
 */
export async function getKeyForUpdate(tx: Tx, scope: Scope, id: string): Promise<ApiKey | undefined> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inScope(scope), eq(apiKeys.id, id)))
    .for("no key update");
  return (await withSecrets(tx, scope, rows))[0];
}

/** The one service that may present the key; undefined for a key that any caller may. */
export async function getCallerService(tx: Tx, scope: Scope, id: string): Promise<string | undefined> {
  const [row] = await tx
    .select({ slug: apiKeys.callerServiceSlug })
    .from(apiKeys)
    .where(and(inScope(scope), eq(apiKeys.id, id)));
  return row?.slug ?? undefined;
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
      allowedCidrs: [...key.allowedCidrs],
      metadata: key.metadata,
    })
    .where(and(inScope(key), eq(apiKeys.id, key.id)));
}

/** Notes when secrets were last used, by their hashes; an older time never overwrites a newer one. */
export async function recordUse(tx: Tx, orgId: string, uses: ReadonlyMap<string, Use>): Promise<void> {
  const rows = JSON.stringify([...uses].map(([hash, use]) => ({ hash, at: use.lastAt })));
  // Locked in one order first: an UPDATE has that of its plan, in which two replicas could lock each other out.
  await tx.execute(sql`
    update ${apiKeySecrets} as known
    set last_used_at = greatest(known.last_used_at, used.at)
    from (
      select secret_hash, at
      from json_to_recordset(${rows}::json) as noted (hash text, at timestamptz)
      join ${apiKeySecrets} on secret_hash = decode(hash, 'hex')
      where org_id = ${orgId}
      order by secret_hash
      for no key update of ${apiKeySecrets}
    ) as used
    where known.secret_hash = used.secret_hash`);
}

// A deployment manages the keys of its own environment only, also where two share a database.
function inScope({ orgId, environment }: Scope) {
  return and(eq(apiKeys.orgId, orgId), eq(apiKeys.environment, environment));
}

type KeyRow = typeof apiKeys.$inferSelect;
type SecretRow = typeof apiKeySecrets.$inferSelect;

/** So many secrets of a key are told of. Those that are still good are among them: they end last, and are five. */
const maxSecretsTold = 10;

/** The keys with what may be presented for them, newest first, and of their past the last part. */
async function withSecrets(tx: Tx, { orgId }: Scope, keys: readonly KeyRow[]): Promise<ApiKey[]> {
  if (keys.length === 0) return [];
  const ids = keys.map(({ id }) => id);
  const { keyId, validUntil, lastUsedAt } = apiKeySecrets;
  const placed = tx
    .select({
      ...getTableColumns(apiKeySecrets),
      place: sql`row_number() over (partition by ${keyId} order by ${validUntil} desc nulls first)`.as(
        "place",
      ),
      // Whose use it was that counts as the key's last one.
      lastOfKey: sql`max(${lastUsedAt}) over (partition by ${keyId})`.as("last_of_key"),
    })
    .from(apiKeySecrets)
    .where(and(eq(apiKeySecrets.orgId, orgId), inArray(keyId, ids)))
    .as("placed");
  const rows = await tx
    .select()
    .from(placed)
    .where(or(lte(placed.place, maxSecretsTold), eq(placed.lastUsedAt, placed.lastOfKey)))
    // The newest has no end, whatever the clocks of two replicas say of when it was made; of two made in one
    // instant, the one that ends later is the newer.
    .orderBy(sql`${placed.validUntil} is not null`, desc(placed.createdAt), desc(placed.validUntil));
  const byKey = Map.groupBy(rows, (row) => row.keyId);
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
    kind: row.kind,
    callerServiceSlug: row.callerServiceSlug ?? undefined,
    allowedCidrs: row.allowedCidrs,
    metadata: row.metadata,
  };
}

function secretFromRow({
  secretHash,
  hashKind,
  hint,
  createdAt,
  validUntil,
  lastUsedAt,
}: SecretRow): KeySecret {
  return {
    hash: secretHash,
    hashKind,
    hint,
    createdAt,
    validUntil: validUntil ?? undefined,
    lastUsedAt: lastUsedAt ?? undefined,
  };
}
