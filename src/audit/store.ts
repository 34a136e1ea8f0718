import {
  and,
  asc,
  between,
  desc,
  eq,
  getTableColumns,
  gt,
  gte,
  lt,
  lte,
  max,
  min,
  sql,
  type SQL,
} from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { auditEvents, auditHeads } from "./schema.ts";
import { chainStart, type Head, type StoredEvent } from "./verify-chain.ts";

/** Which events to list; what is undefined does not narrow. */
export interface EventFilter extends Period {
  readonly action?: string | undefined;
  readonly target?: string | undefined;
  readonly apiKeyId?: string | undefined;
  readonly userId?: string | undefined;
  /** Which of them the reader may see; all if undefined. */
  readonly isShown?: SQL | undefined;
  /** Only events before this one: the last seq of the page before. */
  readonly before?: bigint | undefined;
  readonly limit: number;
}

/** From this time on, and before that one. */
export interface Period {
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
}

/** Events of the organisation, newest first. */
export async function listEvents(tx: Tx, orgId: string, filter: EventFilter): Promise<StoredEvent[]> {
  return await selectEvents(tx, orgId, filter, await boundsOf(tx, orgId, filter));
}

/** The statement of a page. What has no range of its own is asked without one. */
export function selectEvents(tx: Tx, orgId: string, filter: EventFilter, range: SeqRange) {
  const { action, target, apiKeyId, userId, isShown, before, limit } = filter;
  return tx
    .select()
    .from(auditEvents)
    .where(
      and(
        eq(auditEvents.orgId, orgId),
        action === undefined ? undefined : eq(auditEvents.action, action),
        target === undefined ? undefined : eq(auditEvents.target, target),
        apiKeyId === undefined ? undefined : eq(auditEvents.apiKeyId, apiKeyId),
        userId === undefined ? undefined : eq(auditEvents.userId, userId),
        isShown,
        before === undefined ? undefined : lt(auditEvents.seq, before),
        isWithin(filter),
        isBetween(range),
      ),
    )
    .orderBy(desc(auditEvents.seq))
    .limit(limit);
}

/** The numbers of the events of a time; undefined where no time is given, and empty if there are none. */
export type SeqRange = { readonly first: bigint; readonly last: bigint } | "empty" | undefined;

/**
 * The lowest and the highest number of the events of the time. Events are in the order of their numbers, and a clock
 * may have been set back between two: so both are looked for among all of the time, which an index holds. Without
 * them, the database would look through all that is newer for the end of the time.
 */
export async function boundsOf(tx: Tx, orgId: string, period: Period): Promise<SeqRange> {
  if (period.since === undefined && period.until === undefined) return undefined;
  const [bounds] = await selectBounds(tx, orgId, period);
  const { first = null, last = null } = bounds ?? {};
  return first === null || last === null ? "empty" : { first, last };
}

/** The statement of a time's bounds. */
export function selectBounds(tx: Tx, orgId: string, period: Period) {
  // Of a sum, or the planner would look for the lowest number along the numbers, and past all that is older.
  const seq = sql`${auditEvents.seq} + 0`;
  return tx
    .select({
      first: sql<bigint | null>`min(${seq})`.mapWith(auditEvents.seq).as("first"),
      last: sql<bigint | null>`max(${seq})`.mapWith(auditEvents.seq).as("last"),
    })
    .from(auditEvents)
    .where(and(eq(auditEvents.orgId, orgId), isWithin(period)));
}

function isWithin({ since, until }: Period) {
  return and(
    since === undefined ? undefined : gte(auditEvents.at, since),
    until === undefined ? undefined : lt(auditEvents.at, until),
  );
}

function isBetween(range: SeqRange) {
  if (range === undefined) return undefined;
  return range === "empty" ? sql`false` : between(auditEvents.seq, range.first, range.last);
}

/** A part of a chain: the events after one, up to another, and no more than those that begin in the first bytes. */
export interface Stretch {
  readonly after: bigint;
  readonly upTo: bigint;
  /** Of details. At least one event is read, however large it is. */
  readonly maxBytes: number;
}

/** Events of the organisation in the order of its chain, for `followChain`. */
export async function readChain(tx: Tx, orgId: string, stretch: Stretch): Promise<StoredEvent[]> {
  const { seq, details } = auditEvents;
  const bytesBefore = sql<string>`sum(octet_length(${details}::text)) over (
    order by ${seq} rows between unbounded preceding and 1 preceding)`.as("bytes_before");
  const events = tx
    .select({ ...getTableColumns(auditEvents), bytesBefore })
    .from(auditEvents)
    .where(and(eq(auditEvents.orgId, orgId), gt(seq, stretch.after), lte(seq, stretch.upTo)))
    .as("events");
  return await tx
    .select()
    .from(events)
    .where(sql`coalesce(${events.bytesBefore}, 0) < ${stretch.maxBytes}`)
    .orderBy(asc(events.seq));
}

/** The lowest and the highest number of the organisation's events; undefined if it has none. */
export async function readBounds(
  tx: Tx,
  orgId: string,
): Promise<{ first: bigint; last: bigint } | undefined> {
  const [bounds] = await tx
    .select({ first: min(auditEvents.seq), last: max(auditEvents.seq) })
    .from(auditEvents)
    .where(eq(auditEvents.orgId, orgId));
  const { first = null, last = null } = bounds ?? {};
  return first === null || last === null ? undefined : { first, last };
}

/** Where the organisation's record ends, as its last change left it. */
export async function readHead(tx: Tx, orgId: string): Promise<Head> {
  const [head] = await tx.select().from(auditHeads).where(eq(auditHeads.orgId, orgId));
  return { seq: head?.seq ?? chainStart.seq, hash: head?.hash ?? chainStart.hash };
}
