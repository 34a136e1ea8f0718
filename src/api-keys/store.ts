import { and, asc, eq, gt, sql } from "drizzle-orm";
import type { Tx } from "#src/db/database.ts";
import type { Scope } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import { inOrder, type Use } from "#src/platform/usage-log.ts";
import type { ApiKey, PresentedKey } from "./api-key.ts";
import { apiKeys, apiKeySecrets, apiKeyUsage } from "./schema.ts";

/** A secret as it is stored: its hash, and the hint that people recognise it by. */
export interface StoredSecret {
  readonly hash: Buffer;
  readonly hint: string;
}

/** What the presented secret was issued for, in whichever organisation; undefined if no key has this hash. */
export async function findPresented(tx: Tx, secretHash: Buffer): Promise<PresentedKey | undefined> {
  // The caller's organisation is not known before its key is, so row security would show nothing:
  // this function looks past it, for one exact hash at a time.
  const rows = await tx.execute<PresentedRow>(sql`
    select org_id, key_id, name, environment, array_to_json(scopes)::text as scopes, active_user_id,
      extract(epoch from expires_at)::float8 * 1000 as expires_ms,
      extract(epoch from revoked_at)::float8 * 1000 as revoked_ms
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
  };
}

function dateFrom(milliseconds: number | null): Date | undefined {
  return milliseconds === null ? undefined : new Date(milliseconds);
}

/** Stores a new key with its first secret. */
export async function insertKey(tx: Tx, key: ApiKey, secret: StoredSecret): Promise<void> {
  await tx.insert(apiKeys).values({
    orgId: key.orgId,
    id: key.id,
    name: key.name,
    environment: key.environment,
    scopes: [...key.scopes],
    actAsUserId: key.actAsUserId ?? null,
    createdAt: key.createdAt,
    expiresAt: key.expiresAt ?? null,
  });
  await tx.insert(apiKeySecrets).values({
    secretHash: secret.hash,
    orgId: key.orgId,
    keyId: key.id,
    hint: secret.hint,
    createdAt: key.createdAt,
  });
}

/** One key of the organisation. */
export async function getKey(tx: Tx, scope: Scope, id: string): Promise<ApiKey | undefined> {
  const [row] = await selectKeys(tx).where(and(inScope(scope), eq(apiKeys.id, id)));
  return row && fromRow(row);
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function getKeyForUpdate(tx: Tx, scope: Scope, id: string): Promise<ApiKey | undefined> {
  const [row] = await selectKeys(tx)
    .where(and(inScope(scope), eq(apiKeys.id, id)))
    .for("update", { of: apiKeys });
  return row && fromRow(row);
}

/** Keys after the one that the page starts behind, oldest first. */
export async function listKeys(tx: Tx, scope: Scope, page: PageRequest): Promise<ApiKey[]> {
  const rows = await selectKeys(tx)
    .where(and(inScope(scope), gt(apiKeys.id, page.after)))
    .orderBy(asc(apiKeys.id))
    .limit(page.limit);
  return rows.map(fromRow);
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
    })
    .where(and(inScope(key), eq(apiKeys.id, key.id)));
}

/** Notes when keys were last used; an older time never overwrites a newer one. */
export async function recordUse(tx: Tx, orgId: string, uses: ReadonlyMap<string, Use>): Promise<void> {
  await tx
    .insert(apiKeyUsage)
    .values(inOrder(uses).map(([keyId, use]) => ({ orgId, keyId, lastUsedAt: use.lastAt })))
    .onConflictDoUpdate({
      target: [apiKeyUsage.orgId, apiKeyUsage.keyId],
      set: { lastUsedAt: sql`greatest(${apiKeyUsage.lastUsedAt}, excluded.last_used_at)` },
    });
}

// A deployment manages the keys of its own environment only, also where two share a database.
function inScope({ orgId, environment }: Scope) {
  return and(eq(apiKeys.orgId, orgId), eq(apiKeys.environment, environment));
}

function selectKeys(tx: Tx) {
  return tx
    .select({ key: apiKeys, hint: apiKeySecrets.hint, lastUsedAt: apiKeyUsage.lastUsedAt })
    .from(apiKeys)
    .innerJoin(
      apiKeySecrets,
      and(eq(apiKeySecrets.orgId, apiKeys.orgId), eq(apiKeySecrets.keyId, apiKeys.id)),
    )
    .leftJoin(apiKeyUsage, and(eq(apiKeyUsage.orgId, apiKeys.orgId), eq(apiKeyUsage.keyId, apiKeys.id)));
}

type Row = Awaited<ReturnType<typeof selectKeys>>[number];

function fromRow({ key, hint, lastUsedAt }: Row): ApiKey {
  return {
    orgId: key.orgId,
    id: key.id,
    name: key.name,
    environment: key.environment,
    scopes: key.scopes,
    actAsUserId: key.actAsUserId ?? undefined,
    hint,
    createdAt: key.createdAt,
    expiresAt: key.expiresAt ?? undefined,
    revokedAt: key.revokedAt ?? undefined,
    lastUsedAt: lastUsedAt ?? undefined,
  };
}
