import { and, asc, desc, eq, getTableColumns, gt, lt, lte, max, min, sql } from "#src/db/drizzle.cjs";
import { hasShownTarget, type Limited } from "#src/connections/access.ts";
import type { Tx } from "#src/db/database.ts";
import { auditEvents, auditHeads } from "./schema.ts";
import { chainStart, type Head, type StoredEvent } from "./verify-chain.ts";

/** Which events to list; what is undefined does not narrow. */
export interface EventFilter {
  readonly action?: string | undefined;
  readonly target?: string | undefined;
  /** Only events before this one: the last seq of the page before. */
  readonly before?: bigint | undefined;
  readonly limit: number;
}

/** Events of the organisation, newest first, as far as the caller's key may know what they are of. */
export async function listEvents(tx: Tx, caller: Limited, filter: EventFilter): Promise<StoredEvent[]> {
  const { action, target, before, limit } = filter;
  return await tx
    .select()
    .from(auditEvents)
    .where(
      and(
        eq(auditEvents.orgId, caller.orgId),
        hasShownTarget(tx, caller, auditEvents.target),
        action === undefined ? undefined : eq(auditEvents.action, action),
        target === undefined ? undefined : eq(auditEvents.target, target),
        before === undefined ? undefined : lt(auditEvents.seq, before),
      ),
    )
    .orderBy(desc(auditEvents.seq))
    .limit(limit);
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
