import { and, asc, eq, gt, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import type { Integration } from "./integration.ts";
import { integrations } from "./schema.ts";

/** One of the organisation's own integrations. */
export async function getOwn(tx: Tx, orgId: string, slug: string): Promise<Integration | undefined> {
  const [row] = await tx
    .select()
    .from(integrations)
    .where(and(eq(integrations.orgId, orgId), eq(integrations.slug, slug)));
  return row && fromRow(row);
}

/** Those of the organisation's own that have the text in slug or name, in the order of their slugs. */
export async function listOwn(
  tx: Tx,
  orgId: string,
  text: string,
  page: PageRequest,
): Promise<Integration[]> {
  const { slug, definition } = integrations;
  const searched = sql`lower(${slug} || ' ' || (${definition} ->> 'name'))`;
  const rows = await tx
    .select()
    .from(integrations)
    .where(
      and(
        eq(integrations.orgId, orgId),
        gt(slug, page.after),
        sql`position(lower(${text}) in ${searched}) > 0`,
      ),
    )
    .orderBy(asc(slug))
    .limit(page.limit);
  return rows.map(fromRow);
}

/** Makes changes of one slug follow one another: the second sees, and counts on from, what the first stored. */
export async function lockOwn(tx: Tx, orgId: string, slug: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${lockName(orgId, slug)}, 0))`);
}

/** Keeps the slug's definition from being changed until the transaction ends; others may keep it as well. */
export async function shareOwn(tx: Tx, orgId: string, slug: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock_shared(hashtextextended(${lockName(orgId, slug)}, 0))`);
}

function lockName(orgId: string, slug: string): string {
  return JSON.stringify(["integration", orgId, slug]);
}

/** Stores the definition in place of the previous one. */
export async function putOwn(tx: Tx, orgId: string, definition: Integration, at: Date): Promise<void> {
  const { slug, version } = definition;
  await tx
    .insert(integrations)
    .values({ orgId, slug, version, definition, createdAt: at, updatedAt: at })
    .onConflictDoUpdate({
      target: [integrations.orgId, integrations.slug],
      set: { version, definition, updatedAt: at },
    });
}

/** Deletes the definition. */
export async function deleteOwn(tx: Tx, orgId: string, slug: string): Promise<void> {
  await tx.delete(integrations).where(and(eq(integrations.orgId, orgId), eq(integrations.slug, slug)));
}

function fromRow({ definition, slug, version }: typeof integrations.$inferSelect): Integration {
  return { ...definition, slug, version };
}
