import type { Tx } from "#src/db/database.ts";
import { and, eq, sql } from "#src/db/drizzle.cjs";
import type { Environment } from "#src/platform/caller.ts";
import { webhookEndpoints } from "./schema.ts";

/** An endpoint, and the rights of its owner that nobody has looked at yet. */
export interface ToReview {
  readonly orgId: string;
  readonly id: string;
  readonly rights: string;
}

/** Endpoints of all organisations whose owner's rights changed since they were looked at. */
export async function endpointsToReview(
  tx: Tx,
  environment: Environment,
  now: Date,
  most: number,
): Promise<ToReview[]> {
  const rows = await tx.execute<{ org_id: string; id: string; rights: string }>(
    sql`select org_id, id, rights from webhooks_to_review(${environment}, ${now.toISOString()}::timestamptz, ${most})`,
  );
  return rows.map(({ org_id: orgId, id, rights }) => ({ orgId, id, rights }));
}

/** Notes that the endpoint's types are what an owner with these rights may read. */
export async function noteReviewed(tx: Tx, { orgId, id, rights }: ToReview): Promise<void> {
  await tx
    .update(webhookEndpoints)
    .set({ ownerRights: rights })
    .where(and(eq(webhookEndpoints.orgId, orgId), eq(webhookEndpoints.id, id)));
}
