import { randomBytes } from "node:crypto";
import { and, type Column, desc, eq, isNotNull, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { orgs } from "#src/directory/schema.ts";
import { KeyDestroyed } from "./errors.ts";
import type { RootKey } from "./root-key.ts";
import { orgKeys } from "./schema.ts";

/** An organisation's own key, wrapped by the root key. */
export interface WrappedKey {
  readonly orgId: string;
  readonly version: number;
  readonly wrappedKey: Buffer;
}

const keyBytes = 32;

/** What the root key authenticates with an organisation's key: it unwraps for no other organisation or version. */
export function wrapContext({ orgId, version }: Pick<WrappedKey, "orgId" | "version">): string[] {
  return ["kek", orgId, String(version)];
}

/** An organisation's new key, to be stored with `insertOrgKey`. Asks the root key: before a transaction. */
export async function newOrgKey(rootKey: RootKey, orgId: string, createdAt: Date, version = 1) {
  const key = randomBytes(keyBytes);
  const wrappedKey = await rootKey.wrap(key, wrapContext({ orgId, version })).finally(() => key.fill(0));
  return { orgId, purpose: "kek", version, wrappedKey, rootKeyId: rootKey.id, createdAt } as const;
}

/** Stores an organisation's new key; false if another process has stored one of this version. */
export async function insertOrgKey(tx: Tx, row: typeof orgKeys.$inferInsert): Promise<boolean> {
  const inserted = await tx
    .insert(orgKeys)
    .values(row)
    .onConflictDoNothing()
    .returning({ version: orgKeys.version });
  return inserted.length > 0;
}

/** The key that the organisation's secrets are sealed under from now on. Throws KeyDestroyed. */
export async function currentKey(tx: Tx, orgId: string): Promise<WrappedKey> {
  const { version, wrappedKey } = orgKeys;
  const [row] = await tx
    .select({ version, wrappedKey })
    .from(orgKeys)
    .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek"), isNotNull(wrappedKey)))
    .orderBy(desc(version))
    .limit(1);
  if (row?.wrappedKey == null) throw new KeyDestroyed();
  return { orgId, version: row.version, wrappedKey: row.wrappedKey };
}

/**
 * The version that `currentKey` is of, held to the end of the transaction: what is sealed under it is committed before
 * it can be destroyed. Undefined if there is none, or none any more.
 */
export async function holdCurrentVersion(tx: Tx): Promise<number | undefined> {
  const [row] = await tx.execute<{ version: number }>(sql`select version from hold_org_key()`);
  return row?.version;
}

/** The organisation's keys that are not destroyed, the newest first. */
export async function livingKeys(tx: Tx, orgId: string): Promise<(WrappedKey & { rootKeyId: string })[]> {
  const rows = await tx
    .select()
    .from(orgKeys)
    .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek")))
    .orderBy(desc(orgKeys.version));
  return rows.flatMap(({ version, wrappedKey, rootKeyId }) =>
    wrappedKey === null ? [] : [{ orgId, version, wrappedKey, rootKeyId }],
  );
}

/** A version of an organisation's key as it is stored now. */
export interface StoredKey {
  /** Null if it was destroyed. */
  readonly wrappedKey: Buffer | null;
  readonly rootKeyId: string;
  /** Which root key had wrapped it before that one, and the SHA-256 of those bytes: a call may have read them. */
  readonly earlier: { readonly hash: Buffer; readonly rootKeyId: string } | undefined;
  /** Whether all keys of the organisation were destroyed, for good. */
  readonly isShredded: boolean;
}

/** How this version of the organisation's key is stored now; undefined if there was none. */
export async function findStoredKey(tx: Tx, orgId: string, wanted: number): Promise<StoredKey | undefined> {
  const { purpose, version } = orgKeys;
  const [row] = await tx
    .select({ key: orgKeys, shreddedAt: orgs.shreddedAt })
    .from(orgKeys)
    .innerJoin(orgs, eq(orgs.id, orgKeys.orgId))
    .where(and(eq(orgKeys.orgId, orgId), eq(purpose, "kek"), eq(version, wanted)));
  if (row === undefined) return undefined;
  const { wrappedKey, rootKeyId, earlierHash: hash, earlierRootKeyId } = row.key;
  const earlier = hash && earlierRootKeyId ? { hash, rootKeyId: earlierRootKeyId } : undefined;
  return { wrappedKey, rootKeyId, earlier, isShredded: row.shreddedAt !== null };
}

/** For a join: the key of this version, with which something was sealed. */
export function isKeyOf(
  orgId: Column,
  version: Column,
  keys: Readonly<Record<"orgId" | "purpose" | "version", Column>> = orgKeys,
) {
  return and(eq(keys.orgId, orgId), eq(keys.purpose, "kek"), eq(keys.version, version));
}

/** The organisation's key of this version; null if it was destroyed. */
export async function wrappedKeyOf(tx: Tx, orgId: string, version: number): Promise<Buffer | null> {
  const [row] = await tx
    .select({ wrappedKey: orgKeys.wrappedKey })
    .from(orgKeys)
    .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek"), eq(orgKeys.version, version)));
  return row?.wrappedKey ?? null;
}
