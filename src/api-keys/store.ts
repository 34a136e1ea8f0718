import { and, asc, desc, eq, getTableColumns, gt, inArray, lte, or, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import type { Use } from "#src/platform/usage-log.ts";
import type { ApiKey, KeySecret } from "./api-key.ts";
import { apiKeys, apiKeySecrets } from "./schema.ts";

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
    connections: key.connections ?? null,
  });
  // Fails for a secret that a key of any organisation has already: it must not be taken from that key.
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
  // In the order in which `recordUse` locks them, or the two could deadlock.
  return rows.toSorted((a, b) => Buffer.compare(a.secretHash, b.secretHash));
}

/** One key of the organisation. */
export async function getKey(tx: Tx, viewer: Viewer, id: string): Promise<ApiKey | undefined> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inView(viewer), eq(apiKeys.id, id)));
  return (await withSecrets(tx, viewer, rows))[0];
}

/**
 * Locks the row, so that two changes cannot both start from the same state. References to it are still allowed: a
 * request with an Idempotency-Key refers to the caller's own key, and two that rotate their own keys would deadlock.
 */
export async function getKeyForUpdate(tx: Tx, viewer: Viewer, id: string): Promise<ApiKey | undefined> {
  return (await withSecrets(tx, viewer, await lockKey(tx, viewer, id)))[0];
}

/** The same, and locks the secrets: none of them is noted as used until the transaction ends. */
export async function getKeyAndSecretsForUpdate(
  tx: Tx,
  viewer: Viewer,
  id: string,
): Promise<ApiKey | undefined> {
  const rows = await lockKey(tx, viewer, id);
  const { orgId, keyId, secretHash } = apiKeySecrets;
  // In the order in which `recordUse` locks them.
  await tx
    .select({ secretHash })
    .from(apiKeySecrets)
    .where(and(eq(orgId, viewer.orgId), eq(keyId, id)))
    .orderBy(asc(secretHash))
    .for("no key update");
  return (await withSecrets(tx, viewer, rows))[0];
}

function lockKey(tx: Tx, viewer: Viewer, id: string): Promise<KeyRow[]> {
  return tx
    .select()
    .from(apiKeys)
    .where(and(inView(viewer), eq(apiKeys.id, id)))
    .for("no key update");
}

/** The keys of the page, oldest first. */
export async function listKeys(tx: Tx, viewer: Viewer, page: PageRequest): Promise<ApiKey[]> {
  const rows = await tx
    .select()
    .from(apiKeys)
    .where(and(inView(viewer), gt(apiKeys.id, page.after)))
    .orderBy(asc(apiKeys.id))
    .limit(page.limit);
  return withSecrets(tx, viewer, rows);
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
      connections: key.connections ?? null,
    })
    .where(and(inView(key), eq(apiKeys.id, key.id)));
}

/** Notes when secrets were last used, by their hashes; an older time never overwrites a newer one. */
export async function recordUse(tx: Tx, orgId: string, uses: ReadonlyMap<string, Use>): Promise<void> {
  const rows = JSON.stringify([...uses].map(([hash, use]) => ({ hash, at: use.lastAt })));
  // Locked in one order first: an UPDATE locks in the order of its plan, and two replicas could deadlock.
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

/** Notes that a secret is used, and returns until when it is good, which may have changed a moment ago. */
export async function recordFirstUse(
  tx: Tx,
  { orgId, secretHash }: { orgId: string; secretHash: string },
  at: Date,
): Promise<Pick<KeySecret, "validUntil">> {
  const { lastUsedAt, validUntil } = apiKeySecrets;
  const [row] = await tx
    .update(apiKeySecrets)
    .set({ lastUsedAt: sql`greatest(${lastUsedAt}, ${at.toISOString()}::timestamptz)` })
    .where(and(eq(apiKeySecrets.orgId, orgId), eq(apiKeySecrets.secretHash, Buffer.from(secretHash, "hex"))))
    .returning({ validUntil });
  if (row === undefined) throw new Error("a secret that was just presented is gone");
  return { validUntil: row.validUntil ?? undefined };
}

// A deployment manages the keys of its own environment only, also where two share a database.
function inView({ orgId, environment }: Pick<Viewer, "orgId" | "environment">) {
  return and(eq(apiKeys.orgId, orgId), eq(apiKeys.environment, environment));
}

type KeyRow = typeof apiKeys.$inferSelect;
type SecretRow = typeof apiKeySecrets.$inferSelect;

/** A key is shown with its last secrets only. Those that are still good are among them: they end last, and are five. */
const maxSecretsShown = 10;

/** The keys, each with its last secrets, newest first. */
async function withSecrets(tx: Tx, { orgId }: Viewer, keys: readonly KeyRow[]): Promise<ApiKey[]> {
  if (keys.length === 0) return [];
  const ids = keys.map(({ id }) => id);
  const { keyId, validUntil, lastUsedAt } = apiKeySecrets;
  const placed = tx
    .select({
      ...getTableColumns(apiKeySecrets),
      place: sql`row_number() over (partition by ${keyId} order by ${validUntil} desc nulls first)`.as(
        "place",
      ),
      // The secret that was used last is shown as well: its last use is the key's.
      lastOfKey: sql`max(${lastUsedAt}) over (partition by ${keyId})`.as("last_of_key"),
    })
    .from(apiKeySecrets)
    .where(and(eq(apiKeySecrets.orgId, orgId), inArray(keyId, ids)))
    .as("placed");
  const rows = await tx
    .select()
    .from(placed)
    .where(or(lte(placed.place, maxSecretsShown), eq(placed.lastUsedAt, placed.lastOfKey)))
    // The newest secret has no end, whatever the clocks of two replicas say of when it was made; if two were made in
    // one instant, the one that ends later is the newer.
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
    connections: row.connections ?? undefined,
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
