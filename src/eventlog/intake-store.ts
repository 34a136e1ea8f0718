import { sql, type SQL } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Accepted, Arrival } from "./intake.ts";

/** An arrival whose data is sealed already, with the length that it had before. */
export interface SealedArrival extends Arrival {
  readonly dataBytes: number;
}

interface AcceptedRow extends Record<string, unknown> {
  readonly n: number;
  readonly seq: string | null;
  readonly is_new: boolean;
}

/** Appends the events to the logs of their channels; undefined for one whose channel there is not. */
export async function acceptEvents(
  tx: Tx,
  arrivals: readonly SealedArrival[],
  now: Date,
): Promise<readonly (Accepted | undefined)[]> {
  const column = (of: (arrival: SealedArrival) => unknown, type: string): SQL =>
    sql`${sql.param(arrivals.map((one) => of(one) ?? null))}::${sql.raw(type)}[]`;
  const rows = await tx.execute<AcceptedRow>(
    sql`select n, seq::text, is_new from accept_events(
      ${now.toISOString()}::timestamptz, ${column((one) => one.log, "text")}, ${column((one) => one.key, "bytea")},
      ${column((one) => one.id, "text")}, ${column((one) => one.source, "text")}, ${column((one) => one.type, "text")},
      ${column((one) => one.subject, "text")}, ${column((one) => one.time, "text")},
      ${column((one) => one.contentType, "text")}, ${column((one) => JSON.stringify(one.extensions), "text")},
      ${column((one) => one.verified, "text")}, ${column((one) => one.masked, "text")},
      ${column((one) => one.data, "bytea")}, ${column((one) => one.dataBytes, "integer")})`,
  );
  const accepted: (Accepted | undefined)[] = arrivals.map(() => undefined);
  for (const { n, seq, is_new: isNew } of rows) {
    if (seq !== null) accepted[n - 1] = { seq: Number(seq), isNew };
  }
  return accepted;
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

/** Drops what ended before the day; answers how many partitions that were. */
export async function dropDays(tx: Tx, before: string): Promise<number> {
  const [row] = await tx.execute<{ dropped: number }>(sql`select drop_log_days(${before}::date) as dropped`);
  return row?.dropped ?? 0;
}
