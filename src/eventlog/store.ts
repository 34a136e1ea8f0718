import { and, asc, between, eq, getTableColumns, gt, lte, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Sealed } from "#src/crypto/keyring.ts";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import { readStart } from "#src/audit/anchor-store.ts";
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

/** How long a log keeps, and knows an event again. */
export type Retention = Pick<LogHead, "retentionSeconds" | "dedupSeconds">;

/** Longer data is read piece by piece: as a whole, it would hold the event loop while it is read from the wire. */
export const pieceBytes = 256 * 1024;

export async function findHead(tx: Tx, orgId: string, log: string): Promise<LogHead | undefined> {
  const [head] = await tx
    .select()
    .from(logHeads)
    .where(and(eq(logHeads.orgId, orgId), eq(logHeads.log, log)));
  return head;
}

/** Makes a log, together with the channel that it belongs to. */
export async function insertHead(tx: Tx, head: Omit<LogHead, "seq" | "keptFrom">): Promise<void> {
  await tx.insert(logHeads).values({ ...head, seq: 0 });
}

/** Ends a channel's log. */
export async function deleteLog(tx: Tx, log: string): Promise<void> {
  await tx.execute(sql`select delete_log(${log})`);
}

/** How long the log keeps from now on. What is over by now stays so. */
export async function setRetention(
  tx: Tx,
  orgId: string,
  log: string,
  { retentionSeconds, dedupSeconds }: Retention,
  now: Date,
): Promise<void> {
  // Locked first: what comes meanwhile would be kept by neither.
  await tx
    .select({ log: logHeads.log })
    .from(logHeads)
    .where(and(eq(logHeads.orgId, orgId), eq(logHeads.log, log)))
    .for("update");
  await tx
    .update(logHeads)
    .set({
      ...{ retentionSeconds, dedupSeconds },
      keptFrom: sql`earliest_seq(${orgId}, ${log}, ${now.toISOString()}::timestamptz)`,
    })
    .where(and(eq(logHeads.orgId, orgId), eq(logHeads.log, log)));
}

/** The sealed key of the log's data, and the wrapped key that opens it. */
export async function findSealedKey(
  tx: Tx,
  { orgId, sealedKey, kekVersion }: LogHead,
): Promise<{ sealed: Sealed; wrapped: Buffer | null } | undefined> {
  if (sealedKey === null || kekVersion === null) return undefined;
  const wrapped = await wrappedKeyOf(tx, orgId, kekVersion);
  return { sealed: { kekVersion, bytes: sealedKey }, wrapped };
}

/** An event as it is stored. */
export type StoredEvent = typeof events.$inferSelect;

/** Events in the order of their numbers, their data sealed. */
export async function readEvents(
  tx: Tx,
  orgId: string,
  log: string,
  stretch: Stretch,
): Promise<StoredEvent[]> {
  const days = await daysOf(tx, orgId, log, stretch);
  if (days === undefined) return [];
  const { after, limit, maxBytes } = stretch;
  const { seq, dataBytes } = events;
  const before = sql`sum(${dataBytes}) over (order by ${seq} rows between unbounded preceding and 1 preceding)`;
  const numbered = tx
    .select({
      ...getTableColumns(events),
      data: sql<Buffer | null>`case when ${dataBytes} <= ${pieceBytes} then ${events.data} end`.as("data"),
      before: sql<string>`coalesce(${before}, 0)`.as("before"),
    })
    .from(events)
    .where(
      and(
        ...[eq(events.orgId, orgId), eq(events.log, log)],
        // Numbers have no gaps, so the range says as much as a limit does, and more to the planner.
        ...[gt(seq, after), lte(seq, after + limit), between(events.endsOn, days.first, days.last)],
      ),
    )
    .as("numbered");
  const rows = await tx
    .select()
    .from(numbered)
    .where(sql`${numbered.before} < ${maxBytes}`)
    .orderBy(asc(numbered.seq));
  for (const row of rows) if (row.dataBytes > pieceBytes) row.data = await readPieces(tx, row);
  return rows;
}

/** The days on which what is in the stretch ends: without them, Postgres would look into each day that there is. */
async function daysOf(tx: Tx, orgId: string, log: string, { after, limit }: Omit<Stretch, "maxBytes">) {
  const { endsOn, firstSeq, lastSeq } = logDays;
  const [days] = await tx
    .select({
      first: sql<string | null>`min(${endsOn})::text`,
      last: sql<string | null>`max(${endsOn})::text`,
    })
    .from(logDays)
    .where(
      and(eq(logDays.orgId, orgId), eq(logDays.log, log), gt(lastSeq, after), lte(firstSeq, after + limit)),
    );
  const { first, last } = days ?? {};
  return first == null || last == null ? undefined : { first, last };
}

async function readPieces(
  tx: Tx,
  { orgId, log, seq, endsOn }: Pick<StoredEvent, "orgId" | "log" | "seq" | "endsOn">,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let from = 1; ; from += pieceBytes) {
    const [row] = await tx
      .select({
        piece: sql<Buffer>`substring(${events.data} from ${from}::integer for ${pieceBytes}::integer)`,
      })
      .from(events)
      .where(
        and(eq(events.orgId, orgId), eq(events.log, log), eq(events.seq, seq), eq(events.endsOn, endsOn)),
      );
    if (row === undefined || row.piece.length === 0) return Buffer.concat(pieces);
    pieces.push(row.piece);
  }
}

/** The numbers and types of events of a log that is not the audit log, in the order of their numbers. */
export async function readTypes(
  tx: Tx,
  orgId: string,
  log: string,
  stretch: Omit<Stretch, "maxBytes">,
): Promise<Pick<StoredEvent, "seq" | "type">[]> {
  const days = await daysOf(tx, orgId, log, stretch);
  if (days === undefined) return [];
  const { after, limit } = stretch;
  const { seq, type, endsOn } = events;
  return await tx
    .select({ seq, type })
    .from(events)
    .where(
      and(
        ...[eq(events.orgId, orgId), eq(events.log, log)],
        ...[gt(seq, after), lte(seq, after + limit), between(endsOn, days.first, days.last)],
      ),
    )
    .orderBy(asc(seq));
}

/** The lowest number that is kept; one more than the last if none is. */
export async function earliestSeq(tx: Tx, { orgId, log }: LogHead, now: Date): Promise<number> {
  const [row] = await tx.execute<{ earliest: string }>(
    sql`select earliest_seq(${orgId}, ${log}, ${now.toISOString()}::timestamptz)::text as earliest`,
  );
  return Number(row?.earliest);
}

/** How many bytes the organisation's events take. */
export async function storedBytes(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ bytes: sql<string>`coalesce(sum(${logDays.bytes}), 0)` })
    .from(logDays)
    .where(eq(logDays.orgId, orgId));
  return Number(row?.bytes);
}

/** Records of the audit log in their order. */
export async function readAudit(tx: Tx, orgId: string, { after, limit }: Omit<Stretch, "maxBytes">) {
  return await tx
    .select()
    .from(auditEvents)
    .where(and(eq(auditEvents.orgId, orgId), gt(auditEvents.seq, BigInt(after))))
    .orderBy(asc(auditEvents.seq))
    .limit(limit);
}

/** The number of the organisation's first record of the audit log that is kept. */
export async function firstAuditSeq(tx: Tx, orgId: string): Promise<number> {
  return Number((await readStart(tx, orgId))?.seq ?? 0n) + 1;
}

/** The number of the organisation's last record of the audit log. */
export async function auditSeq(tx: Tx, orgId: string): Promise<number> {
  const [head] = await tx.select().from(auditHeads).where(eq(auditHeads.orgId, orgId));
  return Number(head?.seq ?? 0);
}
