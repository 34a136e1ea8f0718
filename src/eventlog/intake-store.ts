import { sql, type SQL } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Accepted, Arrival } from "./intake.ts";
import { pieceBytes } from "./store.ts";

/** An arrival whose data is sealed already, or written to the database, with the length that it had before. */
export interface SealedArrival extends Arrival {
  readonly upload?: Buffer;
  readonly dataBytes: number;
}

interface AcceptedRow extends Record<string, unknown> {
  readonly n: number;
  readonly seq: string | null;
  readonly is_new: boolean;
}

/**
 * Appends the events to the logs of their channels; undefined for one whose channel there is not or, in the skipping way,
 * whose channel's head another transaction holds.
 */
export async function acceptEvents(
  tx: Tx,
  arrivals: readonly SealedArrival[],
  now: Date,
  way: "waiting" | "skipping",
): Promise<readonly (Accepted | undefined)[]> {
  const column = (of: (arrival: SealedArrival) => unknown, type: string): SQL =>
    sql`${sql.param(arrivals.map((one) => of(one) ?? null))}::${sql.raw(type)}[]`;
  const rows = await tx.execute<AcceptedRow>(
    sql`select n, seq::text, is_new from accept_events(
      ${now.toISOString()}::timestamptz, ${way === "waiting"}, ${column((one) => one.log, "text")}, ${column((one) => one.key, "bytea")},
      ${column((one) => one.id, "text")}, ${column((one) => one.source, "text")}, ${column((one) => one.type, "text")},
      ${column((one) => one.subject, "text")}, ${column((one) => one.time, "text")},
      ${column((one) => one.contentType, "text")}, ${column((one) => JSON.stringify(one.extensions), "text")},
      ${column((one) => one.verified, "text")}, ${column((one) => one.masked, "text")},
      ${column((one) => one.data, "bytea")}, ${column((one) => one.upload, "bytea")}, ${column((one) => one.dataBytes, "integer")})`,
  );
  const accepted: (Accepted | undefined)[] = arrivals.map(() => undefined);
  for (const { n, seq, is_new: isNew } of rows) {
    if (seq !== null) accepted[n - 1] = { seq: Number(seq), isNew };
  }
  return accepted;
}

/** Writes long data piece by piece, for an event that names it. */
export async function uploadData(tx: Tx, upload: Buffer, data: Buffer, now: Date): Promise<void> {
  for (let at = 0; at < data.length; at += pieceBytes) {
    const piece = data.subarray(at, at + pieceBytes);
    await tx.execute(
      sql`select upload_piece(${upload}::bytea, ${at / pieceBytes}::integer, ${piece}::bytea, ${now.toISOString()}::timestamptz)`,
    );
  }
}

/** Forgets uploads for which no event came. */
export async function dropUploads(tx: Tx, before: Date): Promise<void> {
  await tx.execute(sql`select drop_uploads(${before.toISOString()}::timestamptz)`);
}

/**
 * Makes the partitions for what comes today and in the next two days to the logs that there are, and to those that keep
 * for as many seconds.
 */
export async function keepDays(tx: Tx, now: Date, alsoSeconds: readonly number[] = []): Promise<void> {
  await tx.execute(
    sql`select keep_log_days(${now.toISOString()}::timestamptz, ${sql.param(alsoSeconds)}::integer[])`,
  );
}

/** Drops one day that ended before this one; answers how many that were. */
export async function dropDay(tx: Tx, before: string): Promise<number> {
  const [row] = await tx.execute<{ dropped: number }>(sql`select drop_log_days(${before}::date) as dropped`);
  return row?.dropped ?? 0;
}
