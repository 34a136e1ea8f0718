import { and, asc, eq, exists, gt, inArray, isNotNull, isNull, lte, sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import { eventGroupBacklog, eventGroupDeliveries, eventGroups } from "../schema.ts";
import type { BacklogEvent, Delivery } from "./delivery.ts";
import type { Counts, Group } from "./group.ts";

/** Names a group, and whose it is. */
export type GroupRef = Pick<Group, "orgId" | "id">;

const backlog = eventGroupBacklog;
const deliveries = eventGroupDeliveries;

export async function insertGroup(tx: Tx, group: Group): Promise<void> {
  await tx.insert(eventGroups).values({ ...group, types: [...group.types] });
}

export async function findGroup(tx: Tx, viewer: Viewer, id: string): Promise<Group | undefined> {
  const [group] = await tx.select().from(eventGroups).where(isGroup(viewer, id));
  return group;
}

/** Locks the group, so that whatever else is done to it, here or by another replica, is done before or afterwards. */
export async function lockGroup(tx: Tx, viewer: Viewer, id: string): Promise<Group | undefined> {
  const [group] = await tx.select().from(eventGroups).where(isGroup(viewer, id)).for("update");
  return group;
}

export async function listGroups(tx: Tx, viewer: Viewer, { after, limit }: PageRequest): Promise<Group[]> {
  const { orgId, environment } = viewer;
  return await tx
    .select()
    .from(eventGroups)
    .where(
      and(eq(eventGroups.orgId, orgId), eq(eventGroups.environment, environment), gt(eventGroups.id, after)),
    )
    .orderBy(asc(eventGroups.id))
    .limit(limit);
}

/** With all that is known of its events. */
export async function deleteGroup(tx: Tx, { orgId, id }: GroupRef): Promise<void> {
  await tx.delete(eventGroups).where(and(eq(eventGroups.orgId, orgId), eq(eventGroups.id, id)));
}

export async function savePosition(tx: Tx, { orgId, id }: GroupRef, seq: number): Promise<void> {
  await tx
    .update(eventGroups)
    .set({ seq })
    .where(and(eq(eventGroups.orgId, orgId), eq(eventGroups.id, id)));
}

/** Of each of the groups, by its id. */
export async function countEvents(
  tx: Tx,
  orgId: string,
  groupIds: readonly string[],
): Promise<ReadonlyMap<string, Counts>> {
  const rows = await tx.execute<{ id: string; inFlight: number; waiting: number; dead: number }>(sql`
    select g.id,
      (select coalesce(sum(d.size), 0) from ${deliveries} d where d.org_id = ${orgId} and d.group_id = g.id)::int
        as "inFlight",
      (select count(*) from ${backlog} b where b.org_id = ${orgId} and b.group_id = g.id and b.dead_at is null)::int
        as waiting,
      (select count(*) from ${backlog} b where b.org_id = ${orgId} and b.group_id = g.id and b.dead_at is not null)::int
        as dead
    from unnest(${textArray(groupIds)}) as g(id)`);
  return new Map(rows.map(({ id, ...counts }) => [id, counts]));
}

export async function insertDelivery(tx: Tx, group: GroupRef, delivery: Delivery): Promise<void> {
  await tx.insert(deliveries).values({ orgId: group.orgId, groupId: group.id, ...rowOf(delivery) });
}

/** Without events, there is nothing left to keep. */
export async function saveDelivery(tx: Tx, group: GroupRef, delivery: Delivery): Promise<void> {
  const isThis = and(ofGroup(deliveries, group), eq(deliveries.id, delivery.id));
  if (delivery.events.length === 0) await tx.delete(deliveries).where(isThis);
  else await tx.update(deliveries).set(rowOf(delivery)).where(isThis);
}

export async function findDeliveries(tx: Tx, group: GroupRef, ids: readonly string[]): Promise<Delivery[]> {
  return await tx
    .select({ id: deliveries.id, events: deliveries.events })
    .from(deliveries)
    .where(and(ofGroup(deliveries, group), inArray(deliveries.id, [...ids])));
}

export async function findOverdue(tx: Tx, group: GroupRef, now: Date): Promise<Delivery[]> {
  return await tx
    .select({ id: deliveries.id, events: deliveries.events })
    .from(deliveries)
    .where(and(ofGroup(deliveries, group), lte(deliveries.until, now)));
}

/** Puts events into the backlog; what is known there of one of them is replaced. */
export async function addToBacklog(tx: Tx, group: GroupRef, events: readonly BacklogEvent[]): Promise<void> {
  // A statement takes 65,535 parameters.
  for (let from = 0; from < events.length; from += 1_000) {
    await addSome(tx, group, events.slice(from, from + 1_000));
  }
}

async function addSome(tx: Tx, { orgId, id: groupId }: GroupRef, events: readonly BacklogEvent[]) {
  await tx
    .insert(backlog)
    .values(events.map((event) => ({ orgId, groupId, ...event })))
    .onConflictDoUpdate({
      target: [backlog.orgId, backlog.groupId, backlog.seq],
      set: {
        key: sql`excluded.key`,
        deliveries: sql`excluded.deliveries`,
        availableAt: sql`excluded.available_at`,
        deadAt: sql`excluded.dead_at`,
        deadReason: sql`excluded.dead_reason`,
      },
    });
}

export async function takeFromBacklog(tx: Tx, group: GroupRef, seqs: readonly number[]): Promise<void> {
  await tx.delete(backlog).where(and(ofGroup(backlog, group), inArray(backlog.seq, [...seqs])));
}

/**
 * Events that wait and may be delivered, in their order: neither before their time, nor while another that they stand
 * behind is in a consumer's hands or may not be delivered yet.
 */
export async function findAvailable(
  tx: Tx,
  group: GroupRef,
  now: Date,
  limit: number,
): Promise<BacklogEvent[]> {
  const isHeldUp = sql`${backlog.key} is not null and (
    ${exists(
      tx
        .select({ one: sql`1` })
        .from(deliveries)
        .where(and(ofGroup(deliveries, group), sql`${backlog.key} = any(${deliveries.keys})`)),
    )}
    or exists (
      select from ${backlog} before
      where before.org_id = ${group.orgId} and before.group_id = ${group.id} and before.dead_at is null
        and before.key = ${backlog.key} and before.seq < ${backlog.seq}
        and before.available_at > ${now.toISOString()}::timestamptz
    ))`;
  return await tx
    .select()
    .from(backlog)
    .where(and(isWaiting(group), lte(backlog.availableAt, now), sql`not (${isHeldUp})`))
    .orderBy(asc(backlog.seq))
    .limit(limit);
}

/** When something may be delivered though nothing comes to the log. */
export interface Due {
  /** Whether something waits whose time has come, though the order may hold it up. */
  readonly isNow: boolean;
  /** When it has come for the next; undefined if there is none. */
  readonly next: Date | undefined;
}

export async function findDue(tx: Tx, group: GroupRef, now: Date): Promise<Due> {
  const at = sql`${now.toISOString()}::timestamptz`;
  const [row] = await tx.execute<{ isNow: boolean; next: string | null }>(sql`
    with times as (
      select until as due from ${deliveries} where org_id = ${group.orgId} and group_id = ${group.id}
      union all
      select available_at from ${backlog}
      where org_id = ${group.orgId} and group_id = ${group.id} and dead_at is null
    )
    select coalesce(bool_or(due <= ${at}), false) as "isNow",
      to_char(min(due) filter (where due > ${at}), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as next
    from times`);
  return { isNow: row?.isNow ?? false, next: row?.next == null ? undefined : new Date(row.next) };
}

/** What is in consumers' hands or waits: how many events, and what they hold up. */
export async function findPending(tx: Tx, group: GroupRef) {
  const [out] = await tx
    .select({ size: sql<number>`coalesce(sum(${deliveries.size}), 0)::int` })
    .from(deliveries)
    .where(ofGroup(deliveries, group));
  const [behind] = await tx
    .select({ size: sql<number>`count(*)::int` })
    .from(backlog)
    .where(isWaiting(group));
  const keys = await tx.execute<{ key: string }>(sql`
    select unnest(keys) as key from ${deliveries} where org_id = ${group.orgId} and group_id = ${group.id}
    union
    select key from ${backlog}
    where org_id = ${group.orgId} and group_id = ${group.id} and dead_at is null and key is not null`);
  return {
    inFlight: out?.size ?? 0,
    waiting: behind?.size ?? 0,
    keys: new Set(keys.map(({ key }) => key)),
  };
}

/** Of these numbers, those of events that are still to be delivered or acknowledged, or are dead. */
export async function findUndone(
  tx: Tx,
  group: Group,
  seqs: readonly number[],
): Promise<ReadonlySet<number>> {
  const asked = sql`${sql.param(seqs)}::bigint[]`;
  const rows = await tx.execute<{ seq: string }>(sql`
    select seq::text from unnest(${asked}) as seq where seq > ${group.seq}
    union
    select seq::text from ${backlog} where org_id = ${group.orgId} and group_id = ${group.id} and seq = any(${asked})
    union
    select event ->> 'seq' from ${deliveries}, json_array_elements(events) as event
    where org_id = ${group.orgId} and group_id = ${group.id} and (event ->> 'seq')::bigint = any(${asked})`);
  return new Set(rows.map(({ seq }) => Number(seq)));
}

export async function findDead(tx: Tx, group: GroupRef, seqs: readonly number[]): Promise<BacklogEvent[]> {
  return await tx
    .select()
    .from(backlog)
    .where(and(ofGroup(backlog, group), isNotNull(backlog.deadAt), inArray(backlog.seq, [...seqs])));
}

export async function listDead(
  tx: Tx,
  group: GroupRef,
  { after, limit }: { after: number; limit: number },
): Promise<BacklogEvent[]> {
  return await tx
    .select()
    .from(backlog)
    .where(and(ofGroup(backlog, group), isNotNull(backlog.deadAt), gt(backlog.seq, after)))
    .orderBy(asc(backlog.seq))
    .limit(limit);
}

/** Forgets what is delivered and what waits, and what is dead and is delivered anew behind the position. */
export async function forgetEvents(tx: Tx, group: GroupRef, position: number): Promise<void> {
  await tx.delete(deliveries).where(ofGroup(deliveries, group));
  await tx
    .delete(backlog)
    .where(and(ofGroup(backlog, group), sql`(${isNull(backlog.deadAt)} or ${gt(backlog.seq, position)})`));
}

/** Of all groups. */
export async function eraseDead(tx: Tx, before: Date): Promise<void> {
  await tx.execute(sql`select erase_dead_events(${before.toISOString()}::timestamptz)`);
}

/** Wakes the pulls that wait, here and at other replicas, once the transaction is committed. */
export async function announceReturned(tx: Tx, { orgId, id }: GroupRef): Promise<void> {
  await tx.execute(sql`select pg_notify('patchbay', ${`group/${orgId}/${id}`})`);
}

function isGroup({ orgId, environment }: Viewer, id: string) {
  return and(eq(eventGroups.orgId, orgId), eq(eventGroups.id, id), eq(eventGroups.environment, environment));
}

function ofGroup(table: typeof backlog | typeof deliveries, { orgId, id }: GroupRef) {
  return and(eq(table.orgId, orgId), eq(table.groupId, id));
}

function isWaiting(group: GroupRef) {
  return and(ofGroup(backlog, group), isNull(backlog.deadAt));
}

function rowOf({ id, events }: Delivery) {
  return {
    id,
    events,
    size: events.length,
    keys: [...new Set(events.flatMap(({ key }) => (key === null ? [] : [key])))],
    until: new Date(Math.min(...events.map(({ until }) => until))),
  };
}
