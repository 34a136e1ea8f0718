import type { Tx } from "#src/db/database.ts";
import { and, asc, desc, eq, isNotNull, sql } from "#src/db/drizzle.cjs";
import type { Endpoint } from "./endpoint.ts";
import { webhookAttempts, webhookEndpoints, webhookParked } from "./schema.ts";

/** What came of one try. */
export type Attempt = typeof webhookAttempts.$inferSelect;
/** An event that failed, or is sent again. */
export type Parked = typeof webhookParked.$inferSelect;

/** Which tries to list. */
export interface AttemptFilter {
  readonly log: string | undefined;
  readonly failuresOnly: boolean;
}

type Named = Pick<Endpoint, "orgId" | "id">;

/** Behind which try a page begins. */
export type AttemptPlace = Pick<Attempt, "at" | "log" | "seq" | "attempt">;
/** Behind which event a page begins. */
export type DeadPlace = Pick<Parked, "log" | "seq">;

/** A part of a list: what comes behind the place. */
interface Part<Place> {
  readonly after: Place | undefined;
  readonly limit: number;
}

/** Tries of the endpoint, newest first. */
export async function listAttempts(
  tx: Tx,
  { orgId, id }: Named,
  { log, failuresOnly }: AttemptFilter,
  { after, limit }: Part<AttemptPlace>,
): Promise<Attempt[]> {
  const { at, log: ofLog, seq, attempt } = webhookAttempts;
  return await tx
    .select()
    .from(webhookAttempts)
    .where(
      and(
        eq(webhookAttempts.orgId, orgId),
        eq(webhookAttempts.endpointId, id),
        log === undefined ? undefined : eq(ofLog, log),
        failuresOnly ? isNotNull(webhookAttempts.stage) : undefined,
        after &&
          sql`(${at}, ${ofLog}, ${seq}, ${attempt}) <
            (${after.at.toISOString()}::timestamptz, ${after.log}, ${after.seq}::bigint, ${after.attempt}::integer)`,
      ),
    )
    .orderBy(desc(at), desc(ofLog), desc(seq), desc(attempt))
    .limit(limit);
}

/** What was given up, by log and number. */
export async function listDead(
  tx: Tx,
  { orgId, id }: Named,
  { after, limit }: Part<DeadPlace>,
): Promise<Parked[]> {
  const { log, seq } = webhookParked;
  return await tx
    .select()
    .from(webhookParked)
    .where(
      and(
        eq(webhookParked.orgId, orgId),
        eq(webhookParked.endpointId, id),
        isNotNull(webhookParked.deadAt),
        after && sql`(${log}, ${seq}) > (${after.log}, ${after.seq}::bigint)`,
      ),
    )
    .orderBy(asc(log), asc(seq))
    .limit(limit);
}

/** Has events sent again, as if they had not been tried yet. */
export async function queueAgain(
  tx: Tx,
  { orgId, id }: Named,
  log: string,
  events: readonly { readonly seq: number; readonly webhookId: string | undefined }[],
  at: Date,
): Promise<void> {
  const rows = JSON.stringify(events);
  await tx.execute(sql`
    insert into ${webhookParked} as known (org_id, endpoint_id, log, seq, attempts, next_try_at, redelivery, webhook_id, parked_at)
    select ${orgId}, ${id}, ${log}, seq, 0, ${at.toISOString()}::timestamptz, true, "webhookId", ${at.toISOString()}::timestamptz
    from json_to_recordset(${rows}::json) as given (seq bigint, "webhookId" text)
    order by seq
    on conflict (org_id, endpoint_id, log, seq) do update
    set attempts = 0, next_try_at = excluded.next_try_at, redelivery = true, webhook_id = excluded.webhook_id, dead_at = null`);
  // It has something to do now. With its new version, no turn that is under way settles one of them as done.
  const { version, dueAt } = webhookEndpoints;
  await tx
    .update(webhookEndpoints)
    .set({ version: sql`${version} + 1`, dueAt: sql`least(${dueAt}, ${at.toISOString()}::timestamptz)` })
    .where(and(eq(webhookEndpoints.orgId, orgId), eq(webhookEndpoints.id, id)));
}
