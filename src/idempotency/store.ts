import { and, asc, eq, lte, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { idempotentRequests } from "./schema.ts";

type Row = typeof idempotentRequests.$inferSelect;
/** The name that a caller gave to a request. */
type Named = Pick<Row, "orgId" | "callerId" | "idempotencyKey">;

/** Makes requests of one name follow one another, to the end of the transaction. */
export async function lockRequest(tx: Tx, { orgId, callerId, idempotencyKey }: Named): Promise<void> {
  const name = JSON.stringify(["request", orgId, callerId, idempotencyKey]);
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`);
}

/** Stores the request, which must be the caller's only one of this name. */
export async function insertRequest(tx: Tx, row: Row): Promise<void> {
  await tx.insert(idempotentRequests).values(row);
}

/** The caller's request of this name. */
export async function findRequest(tx: Tx, named: Named): Promise<Row | undefined> {
  const [row] = await tx.select().from(idempotentRequests).where(isNamed(named));
  return row;
}

/** Deletes the caller's request of this name if it is at least that old. */
export async function forgetRequest(tx: Tx, named: Named, old: Date): Promise<void> {
  await tx.delete(idempotentRequests).where(and(isNamed(named), lte(idempotentRequests.at, old)));
}

/** More than the one request that is added each time, so that old ones cannot pile up. */
const forgottenAtOnce = 100;

/** Deletes some of the organisation's requests that are at least that old. */
export async function forgetOldRequests(tx: Tx, orgId: string, old: Date): Promise<void> {
  const { callerId, idempotencyKey, at } = idempotentRequests;
  const rows = tx
    .select({ callerId, idempotencyKey })
    .from(idempotentRequests)
    // One transaction at a time, and the others skip this: two that delete the same rows could deadlock.
    .where(
      and(
        eq(idempotentRequests.orgId, orgId),
        lte(at, old),
        sql`(select pg_try_advisory_xact_lock(hashtextextended(${`old requests ${orgId}`}, 0)))`,
      ),
    )
    .orderBy(asc(at))
    .limit(forgottenAtOnce);
  await tx
    .delete(idempotentRequests)
    .where(and(eq(idempotentRequests.orgId, orgId), sql`(${callerId}, ${idempotencyKey}) in ${rows}`));
}

function isNamed({ orgId, callerId, idempotencyKey }: Named) {
  return and(
    eq(idempotentRequests.orgId, orgId),
    eq(idempotentRequests.callerId, callerId),
    eq(idempotentRequests.idempotencyKey, idempotencyKey),
  );
}
