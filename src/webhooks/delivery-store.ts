import type { Tx } from "#src/db/database.ts";
import { and, asc, eq, isNotNull, sql } from "#src/db/drizzle.cjs";
import type { Attempt } from "./dispatch-store.ts";
import type { Endpoint } from "./endpoint.ts";
import { webhookAttempts, webhookEndpoints, webhookParked } from "./schema.ts";

/** An event that failed, or is sent again. */
export type Parked = typeof webhookParked.$inferSelect;

/** Which tries to list. */
export interface AttemptFilter {
  readonly log: string | undefined;
  readonly failuresOnly: boolean;
}

type Named = Pick<Endpoint, "orgId" | "id">;

/** A try, with when the first one of its turn was. */
export interface ListedAttempt extends Attempt {
  readonly turnAt: Date;
}

/** Behind which try a page begins. */
export type AttemptPlace = Pick<ListedAttempt, "turnAt" | "at" | "log" | "seq" | "attempt">;
/** Behind which event a page begins. */
export type DeadPlace = Pick<Parked, "log" | "seq">;

/** A part of a list: what comes behind the place. */
interface Part<Place> {
  readonly after: Place | undefined;
  readonly limit: number;
}

/** Tries of the endpoint, newest first. Turns are read from the newest on, until the page is full. */
export async function listAttempts(
  tx: Tx,
  { orgId, id }: Named,
  { log, failuresOnly }: AttemptFilter,
  { after, limit }: Part<AttemptPlace>,
): Promise<ListedAttempt[]> {
  const { at, tries } = webhookAttempts;
  const rows = await tx.execute<AttemptRow>(sql`
    select ${at} as "turnAt", t.* from ${webhookAttempts}, json_to_recordset(${tries}) as t (
      at timestamptz, log text, seq bigint, attempt integer, status integer, "latencyMs" integer, stage text,
      "answerType" text, "answerBytes" integer
    )
    where ${and(
      ...[eq(webhookAttempts.orgId, orgId), eq(webhookAttempts.endpointId, id)],
      log === undefined ? undefined : sql`t.log = ${log}`,
      failuresOnly ? sql`t.stage is not null` : undefined,
      after && sql`${at} <= ${after.turnAt.toISOString()}::timestamptz`,
      after &&
        sql`(${at}, t.at, t.log collate "C", t.seq, t.attempt) <
          (${after.turnAt.toISOString()}::timestamptz, ${after.at.toISOString()}::timestamptz, ${after.log},
           ${after.seq}::bigint, ${after.attempt}::integer)`,
    )}
    order by ${at} desc, t.at desc, t.log collate "C" desc, t.seq desc, t.attempt desc
    limit ${limit}`);
  return rows.map(({ turnAt, at, seq, status, stage, answerType, answerBytes, ...row }) => ({
    ...{ ...row, turnAt: new Date(turnAt), at: new Date(at), seq: Number(seq) },
    ...{ status: status ?? undefined, stage: stage ?? undefined },
    ...{ answerType: answerType ?? undefined, answerBytes: answerBytes ?? undefined },
  }));
}

interface AttemptRow extends Record<string, unknown> {
  readonly turnAt: string;
  readonly at: string;
  readonly log: string;
  readonly seq: string;
  readonly attempt: number;
  readonly status: number | null;
  readonly latencyMs: number;
  readonly stage: string | null;
  readonly answerType: string | null;
  readonly answerBytes: number | null;
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
