import { randomBytes } from "node:crypto";
import { and, type Column, desc, eq, isNotNull } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
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

/** A new organisation's first key, to be stored with `insertOrgKey`. Asks the root key: before a transaction. */
export async function newOrgKey(rootKey: RootKey, orgId: string, createdAt: Date) {
  const version = 1;
  const key = randomBytes(keyBytes);
  const wrappedKey = await rootKey.wrap(key, wrapContext({ orgId, version }));
  key.fill(0);
  return { orgId, purpose: "kek", version, wrappedKey, rootKeyId: rootKey.id, createdAt } as const;
}

/** Stores an organisation's new key. */
export async function insertOrgKey(tx: Tx, row: typeof orgKeys.$inferInsert): Promise<void> {
  await tx.insert(orgKeys).values(row);
}

/** The key that the organisation's secrets are sealed under from now on. */
export async function currentKey(tx: Tx, orgId: string): Promise<WrappedKey> {
  const { version, wrappedKey } = orgKeys;
  const [row] = await tx
    .select({ version, wrappedKey })
    .from(orgKeys)
    .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek"), isNotNull(wrappedKey)))
    .orderBy(desc(version))
    .limit(1);
  if (row?.wrappedKey == null) throw new Error(`organisation ${orgId} has no key to seal with`);
  return { orgId, version: row.version, wrappedKey: row.wrappedKey };
}

/** For a join: the key of this version, with which something was sealed. */
export function isKeyOf(
  orgId: Column,
  version: Column,
  keys: Readonly<Record<"orgId" | "purpose" | "version", Column>> = orgKeys,
) {
  return and(eq(keys.orgId, orgId), eq(keys.purpose, "kek"), eq(keys.version, version));
}

/** The organisation's key of this version; undefined if it was destroyed. */
export async function wrappedKeyOf(tx: Tx, orgId: string, version: number): Promise<Buffer | undefined> {
  const [row] = await tx
    .select({ wrappedKey: orgKeys.wrappedKey })
    .from(orgKeys)
    .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek"), eq(orgKeys.version, version)));
  return row?.wrappedKey ?? undefined;
}
