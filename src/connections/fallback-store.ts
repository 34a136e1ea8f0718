import { and, eq, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { bearerRecipe, type Recipe } from "#src/integrations/integration.ts";
import type { Connection } from "./connection.ts";
import { fallbackCredentials } from "./schema.ts";
import type { StoredCredential } from "./store.ts";

/** The secret that a connection had before, with all that it was sent with. */
export interface FallbackCredential extends Pick<
  StoredCredential,
  "boundTo" | "version" | "sealed" | "fingerprint" | "form"
> {
  readonly recipe: Recipe;
  readonly params: Readonly<Record<string, string>>;
  readonly validUntil: Date;
}

/** The fallback of a connection whose row is locked, locked like its credential (`getCredential`). */
export async function getFallback(
  tx: Tx,
  { orgId, id }: Pick<Connection, "orgId" | "id">,
): Promise<FallbackCredential | undefined> {
  const [row] = await tx
    .select()
    .from(fallbackCredentials)
    .where(and(eq(fallbackCredentials.orgId, orgId), eq(fallbackCredentials.connectionId, id)))
    .for("update");
  return row && fallbackFromRow(row);
}

/** Stores the fallback of a connection in place of the previous one; undefined for none. */
export async function putFallback(
  tx: Tx,
  { orgId, id }: Pick<Connection, "orgId" | "id">,
  fallback: FallbackCredential | undefined,
): Promise<void> {
  await tx
    .delete(fallbackCredentials)
    .where(and(eq(fallbackCredentials.orgId, orgId), eq(fallbackCredentials.connectionId, id)));
  if (fallback === undefined) return;
  const { boundTo, version, sealed, form, fingerprint, recipe, params, validUntil } = fallback;
  await tx.insert(fallbackCredentials).values({
    ...{ orgId, connectionId: id, boundTo, version, form, fingerprint, params, validUntil },
    kekVersion: sealed.kekVersion,
    sealed: sealed.bytes,
    recipe: recipe === bearerRecipe ? null : recipe,
  });
}

/** Erases the fallbacks of all organisations that are over. */
export async function eraseFallbacks(tx: Tx, now: Date): Promise<void> {
  await tx.execute(sql`select erase_fallback_credentials(${now.toISOString()}::timestamptz)`);
}

/** The row as a fallback. */
export function fallbackFromRow(row: typeof fallbackCredentials.$inferSelect): FallbackCredential {
  const { boundTo, version, form, fingerprint, params, validUntil } = row;
  return {
    ...{ boundTo, version, form, fingerprint, params, validUntil },
    sealed: { kekVersion: row.kekVersion, bytes: row.sealed },
    recipe: row.recipe ?? bearerRecipe,
  };
}
