import { and, asc, eq, gt, gte, lte, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Sealed } from "#src/crypto/keyring.ts";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import { auditEvents, auditHeads } from "#src/audit/schema.ts";
import { events, logDays, logHeads } from "./schema.ts";

/** Which part of a log to read. */
export interface Stretch {
  /** Events behind this number. */
  readonly after: number;
  readonly limit: number;
  /** Of data. At least one event is read, however large it is. */
  readonly maxBytes: number;
}

/** Where a log ends, and how its data is sealed. */
export type LogHead = typeof logHeads.$inferSelect;

export async function findHead(tx: Tx, orgId: string, log: string): Promise<LogHead | undefined> {
  const [head] = await tx
    .select()
    .from(logHeads)
    .where(and(eq(logHeads.orgId, orgId), eq(logHeads.log, log)));
  return head;
}

/** Makes a log, together with the channel that it belongs to. */
export async function insertHead(tx: Tx, head: Omit<LogHead, "seq">): Promise<void> {
  await tx.insert(logHeads).values({ ...head, seq: 0 });
}

/** Ends a log: with its head, the key is gone that its data is sealed with. */
export async function deleteHead(tx: Tx, orgId: string, log: string): Promise<void> {
  await tx.delete(logHeads).where(and(eq(logHeads.orgId, orgId), eq(logHeads.log, log)));
  // What it takes no longer counts. Its rows are dropped with their days.
}

/** How long what the log takes in from now on is kept, and known again. */
export async function setRetention(
  tx: Tx,
  orgId: string,
  log: string,
  times: Pick<LogHead, "retentionSeconds" | "dedupSeconds">,
): Promise<void> {
  await tx
    .update(logHeads)
    .set(times)
    .where(and(eq(logHeads.orgId, orgId), eq(logHeads.log, log)));
}

/** The sealed key of the log's data, and the wrapped key that opens it. */
export async function findSealedKey(
  tx: Tx,
  { orgId, sealedKey, kekVersion }: LogHead,
): Promise<{ sealed: Sealed; wrapped: Buffer } | undefined> {
  if (sealedKey === null || kekVersion === null) return undefined;
  const wrapped = await wrappedKeyOf(tx, orgId, kekVersion);
  return wrapped && { sealed: { kekVersion, bytes: sealedKey }, wrapped };
}

/** Events in the order of their numbers. */
export async function readEvents(tx: Tx, orgId: string, log: string, { after, limit, maxBytes }: Stretch) {
  const { seq, dataBytes } = events;
  const before = sql<string>`sum(${dataBytes}) over (order by ${seq} rows between unbounded preceding and 1 preceding)`;
  const found = await tx
    .select({ event: events, before })
    .from(events)
    // Numbers have no gaps, so the range says as much as a limit does, and more to the planner.
    .where(and(eq(events.orgId, orgId), eq(events.log, log), gt(seq, after), lte(seq, after + limit)))
    .orderBy(asc(seq));
  return found.filter((row) => Number(row.before) < maxBytes).map((row) => row.event);
}

/** The numbers and types of events of a log that is not the audit log, from one number to another. */
export async function readTypes(
  tx: Tx,
  orgId: string,
  log: string,
  { from, to }: { readonly from: number; readonly to: number },
) {
  const { seq, type } = events;
  return await tx
    .select({ seq, type })
    .from(events)
    .where(and(eq(events.orgId, orgId), eq(events.log, log), gte(seq, from), lte(seq, to)))
    .orderBy(asc(seq));
}

/** The lowest number that is kept; one more than the last if none is. */
export async function earliestSeq(tx: Tx, { orgId, log, seq }: LogHead): Promise<number> {
  const [days] = await tx
    .select({ first: sql<string | null>`min(${logDays.firstSeq})` })
    .from(logDays)
    .where(and(eq(logDays.orgId, orgId), eq(logDays.log, log)));
  return days?.first == null ? seq + 1 : Number(days.first);
}

/** Records of the audit log in their order. */
export async function readAudit(tx: Tx, orgId: string, { after, limit }: Stretch) {
  return await tx
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.orgId, orgId), gt(auditEvents.seq, BigInt(after))))
    .orderBy(asc(auditEvents.seq))
    .limit(limit);
}

/** The number of the organisation's last record of the audit log. */
export async function auditSeq(tx: Tx, orgId: string): Promise<number> {
  const [head] = await tx.select().from(auditHeads).where(eq(auditHeads.orgId, orgId));
  return Number(head?.seq ?? 0);
}
