import { and, eq, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import { catalogs, type CatalogDrift } from "../schema.ts";

/** A service, by the organisation that keeps its catalog. */
export interface CatalogRef {
  readonly orgId: string;
  readonly slug: string;
}

/** A service whose own document is due to be compared, and the connection through which it is fetched. */
export interface DueCatalog extends CatalogRef, Record<string, unknown> {
  readonly connectionId: string;
}

/** Has the service's own document compared from the next time on; with undefined, not any more. */
export async function setWatch(
  tx: Tx,
  { orgId, slug }: CatalogRef,
  watch: { readonly connectionId: string; readonly nextCheckAt: Date } | undefined,
  at: Date,
): Promise<void> {
  const set = { watchedThrough: watch?.connectionId ?? null, nextCheckAt: watch?.nextCheckAt ?? null };
  await tx
    .insert(catalogs)
    .values({ orgId, slug, revision: 0, lastRevision: 0, updatedAt: at, ...set })
    .onConflictDoUpdate({ target: [catalogs.orgId, catalogs.slug], set });
}

/** Notes how the service's own document differs from the revision in force; null if it does not. */
export async function noteCheck(
  tx: Tx,
  { orgId, slug }: CatalogRef,
  checked: { readonly at: Date; readonly drift: CatalogDrift | null; readonly inForce: number },
): Promise<void> {
  const { at, drift, inForce } = checked;
  await tx
    .insert(catalogs)
    .values({ orgId, slug, revision: 0, lastRevision: 0, updatedAt: at, checkedAt: at, drift })
    .onConflictDoUpdate({
      target: [catalogs.orgId, catalogs.slug],
      set: { checkedAt: at, drift },
      // What was compared with another revision says nothing of the one in force by now.
      setWhere: eq(catalogs.revision, inForce),
    });
}

/** Notes why the service's own document could not be compared. */
export async function noteFailure(
  tx: Tx,
  { orgId, slug }: CatalogRef,
  at: Date,
  error: string,
): Promise<void> {
  await tx
    .update(catalogs)
    .set({ checkedAt: at, drift: { error } })
    .where(and(eq(catalogs.orgId, orgId), eq(catalogs.slug, slug)));
}

/** Has it compared again soon. */
export async function checkAgain(tx: Tx, { orgId, slug }: CatalogRef, at: Date): Promise<void> {
  await tx
    .update(catalogs)
    .set({ nextCheckAt: at })
    .where(and(eq(catalogs.orgId, orgId), eq(catalogs.slug, slug)));
}

/** Claims services of all organisations that are due. No other replica gets them before tomorrow. */
export async function claimDue(
  tx: Tx,
  environment: Environment,
  now: Date,
  most: number,
): Promise<DueCatalog[]> {
  return await tx.execute<DueCatalog>(
    sql`select org_id as "orgId", slug, connection_id as "connectionId"
        from claim_due_catalogs(${environment}, ${now.toISOString()}::timestamptz, ${most})`,
  );
}

/** Deletes imports, of all organisations, that were begun before and never became ready. */
export async function deleteAbandoned(tx: Tx, begunBefore: Date): Promise<void> {
  await tx.execute(sql`select delete_abandoned_imports(${begunBefore.toISOString()}::timestamptz)`);
}
