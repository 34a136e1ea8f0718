import { and, eq } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
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

function fromRow({ definition, slug, version }: typeof integrations.$inferSelect): Integration {
  return { ...definition, slug, version };
}
