import { and, asc, desc, eq, gt, lt } from "drizzle-orm";
import type { Tx } from "#src/db/database.ts";
import { auditEvents, auditHeads } from "./schema.ts";
import type { Head, StoredEvent } from "./verify.ts";

/** Which events to list; what is undefined does not narrow. */
export interface EventFilter {
  readonly action?: string | undefined;
  readonly target?: string | undefined;
  /** Only events before this one: the last seq of the page before. */
  readonly before?: number | undefined;
  readonly limit: number;
}

/** Events of the organisation, newest first. */
export async function listEvents(tx: Tx, orgId: string, filter: EventFilter): Promise<StoredEvent[]> {
  const { action, target, before, limit } = filter;
  return await tx
    .select()
    .from(auditEvents)
    .where(
      and(
        eq(auditEvents.orgId, orgId),
        action === undefined ? undefined : eq(auditEvents.action, action),
        target === undefined ? undefined : eq(auditEvents.target, target),
        before === undefined ? undefined : lt(auditEvents.seq, before),
      ),
    )
    .orderBy(desc(auditEvents.seq))
    .limit(limit);
}

/** The organisation's events after the given one, in the order of the chain: what `verify` reads. */
export async function readChain(tx: Tx, orgId: string, after: number, limit: number): Promise<StoredEvent[]> {
  return await tx
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.orgId, orgId), gt(auditEvents.seq, after)))
    .orderBy(asc(auditEvents.seq))
    .limit(limit);
}

/** Where the organisation's chain ends; undefined if nothing was recorded yet. */
export async function readHead(tx: Tx, orgId: string): Promise<Head | undefined> {
  const [head] = await tx.select().from(auditHeads).where(eq(auditHeads.orgId, orgId));
  return head;
}
