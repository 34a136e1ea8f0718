import { sql, type SQL } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { NewEvent } from "./event.ts";
import type { Accepted, Arrival } from "./intake.ts";
import { pieceBytes } from "./store.ts";

/** An arrival whose data is sealed already, or written to the database, with the length that it had before. */
export interface SealedArrival extends Arrival {
  readonly upload?: Buffer;
  readonly dataBytes: number;
  readonly room: number;
}

interface AcceptedRow extends Record<string, unknown> {
  readonly n: number;
  readonly seq: string;
  readonly is_new: boolean;
}

/** What an event takes beside its data and its texts. */
const rowBytes = 200;

/** How much room an event takes. */
export function roomOf({ id, source, type, extensions, data }: NewEvent): number {
  let bytes = rowBytes + (data?.length ?? 0);
  for (const text of [id, source, type]) bytes += Buffer.byteLength(text);
  for (const name in extensions) bytes += Buffer.byteLength(name) + Buffer.byteLength(extensions[name] ?? "");
  return bytes;
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
  const { firsts, places } = withoutRepeats(arrivals);
  // Most channels leave some columns empty: no list, no work for each event.
  const column = (of: (arrival: SealedArrival) => unknown, type: string): SQL => {
    const values = firsts.map(of);
    return sql`${sql.param(values.every((value) => value === undefined) ? null : values)}::${sql.raw(type)}[]`;
  };
  // Not as bytea, whose digits are strings of twice the length: each batch would leave a megabyte to collect.
  const data = Buffer.concat(firsts.flatMap((one) => one.data ?? [])).toString("base64");
  let end = 1;
  const starts = firsts.map((one) => (end += one.data?.length ?? 0) - (one.data?.length ?? 0));
  const rows = await tx.execute<AcceptedRow>(
    sql`select n, seq::text, is_new from accept_events(
      ${now.toISOString()}::timestamptz, ${way === "waiting"}, ${column((one) => one.log, "text")}, ${column((one) => one.key, "bytea")},
      ${column((one) => one.id, "text")}, ${column((one) => one.source, "text")}, ${column((one) => one.type, "text")},
      ${column((one) => one.subject, "text")}, ${column((one) => one.time, "text")},
      ${column((one) => one.contentType, "text")}, ${column((one) => JSON.stringify(one.extensions), "text")},
      ${column((one) => one.verified, "text")}, ${column((one) => one.masked, "text")},
      decode(${data}, 'base64'), ${sql.param(starts)}::integer[], ${column((one) => one.data?.length, "integer")},
      ${column((one) => one.upload, "bytea")}, ${column((one) => one.dataBytes, "integer")}, ${column((one) => one.room, "integer")})`,
  );
  const accepted: (Accepted | undefined)[] = firsts.map(() => undefined);
  for (const { n, seq, is_new: isNew } of rows) accepted[n - 1] = { seq: Number(seq), isNew };
  return places.map(({ at, isFirst }) => {
    const one = accepted[at];
    return one && { ...one, isNew: one.isNew && isFirst };
  });
}

/** What comes twice in a batch is stored once: where each one's first is in the shorter list. */
function withoutRepeats(arrivals: readonly SealedArrival[]) {
  const firsts: SealedArrival[] = [];
  const known = new Map<string, number>();
  const places = arrivals.map((one) => {
    const name = one.key && `${one.log}/${one.key.toString("latin1")}`;
    const at = name === undefined ? undefined : known.get(name);
    if (at !== undefined) return { at, isFirst: false };
    if (name !== undefined) known.set(name, firsts.length);
    return { at: firsts.push(one) - 1, isFirst: true };
  });
  return { firsts, places };
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
    sql`select keep_days(${now.toISOString()}::timestamptz, ${sql.param(alsoSeconds)}::integer[])`,
  );
}

/** Drops one day that ended before this one; answers how many that were. */
export async function dropDay(tx: Tx, before: string): Promise<number> {
  const [row] = await tx.execute<{ dropped: number }>(sql`select drop_days(${before}::date) as dropped`);
  return row?.dropped ?? 0;
}
