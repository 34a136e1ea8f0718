import type { KeyObject } from "node:crypto";
import { openInTurns } from "#src/crypto/seal.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { eventOfRecord } from "./audit-events.ts";
import type { DataKeys } from "./data-keys.ts";
import { CursorExpired, LogNotFound } from "./errors.ts";
import { auditLog, serviceLog, type LoggedEvent } from "./event.ts";
import {
  auditSeq,
  earliestSeq,
  findHead,
  firstAuditSeq,
  readAudit,
  readEvents,
  type LogHead,
  type StoredEvent,
  type Stretch,
} from "./store.ts";

/** Where a log begins and ends. */
export interface Bounds {
  /** The lowest number that is kept; one more than `last` if none is. */
  readonly earliest: number;
  /** The highest number; 0 of a log in which nothing was yet. */
  readonly last: number;
}

/** Part of a log. */
export interface Found {
  readonly events: readonly LoggedEvent[];
  /** How long after it was received an event of the log is kept; undefined for ever. */
  readonly keptMs: number | undefined;
}

/** Reads logs from the database. */
export interface Reader {
  /** Throws LogNotFound, and CursorExpired for what is no longer kept. */
  read(orgId: string, log: string, stretch: Stretch): Promise<Found>;
  /** Throws LogNotFound. */
  bounds(orgId: string, log: string): Promise<Bounds>;
}

export function createReader(parts: { database: Database; keys: DataKeys; now: () => Date }): Reader {
  const { database, keys, now } = parts;

  async function readStored(orgId: string, log: string, stretch: Stretch): Promise<Found> {
    const { head, rows } = await database.read(orgId, async (tx) => {
      const head = await findHead(tx, orgId, log);
      if (head === undefined) {
        if (log === serviceLog) return { head, rows: [] };
        throw new LogNotFound();
      }
      const rows = stretch.after < head.seq ? await readEvents(tx, orgId, log, stretch) : [];
      if (stretch.after < head.seq && !isKept(rows[0], head, stretch.after)) {
        throw new CursorExpired(log, await earliestSeq(tx, head, now()));
      }
      return { head, rows };
    });
    const sealedBy = head?.sealedKey == null ? undefined : await keys.keyOf(orgId, log);
    const events: LoggedEvent[] = [];
    for (const row of rows) events.push(await eventOfRow(row, sealedBy));
    return { events, keptMs: head && head.retentionSeconds * 1_000 };
  }

  /** A day is dropped some time after it ended: until then, its events are there and no longer kept. */
  function isKept(first: StoredEvent | undefined, head: LogHead, after: number): boolean {
    if (first?.seq !== after + 1 || first.seq < head.keptFrom) return false;
    return first.receivedAt.getTime() + head.retentionSeconds * 1_000 > now().getTime();
  }

  return {
    async read(orgId, log, stretch) {
      if (log !== auditLog) return readStored(orgId, log, stretch);
      const records = await database.read(orgId, (tx) => readRecords(tx, orgId, stretch));
      return { events: records.map(eventOfRecord), keptMs: undefined };
    },
    bounds: (orgId, log) =>
      database.read(orgId, async (tx) => {
        if (log === auditLog) {
          return { earliest: await firstAuditSeq(tx, orgId), last: await auditSeq(tx, orgId) };
        }
        const head = await findHead(tx, orgId, log);
        if (head !== undefined) return { earliest: await earliestSeq(tx, head, now()), last: head.seq };
        if (log === serviceLog) return { earliest: 1, last: 0 };
        throw new LogNotFound();
      }),
  };
}

/** What was removed for its age must not look as if it had never been. */
async function readRecords(tx: Tx, orgId: string, stretch: Stretch) {
  const records = await readAudit(tx, orgId, stretch);
  if (Number(records[0]?.seq ?? 0) === stretch.after + 1) return records;
  const first = await firstAuditSeq(tx, orgId);
  if (stretch.after < first - 1) throw new CursorExpired(auditLog, first);
  return records;
}

async function eventOfRow(row: StoredEvent, key: KeyObject | undefined): Promise<LoggedEvent> {
  const { orgId, log, seq, receivedAt, id, source, type, extensions, verified } = row;
  const { subject, time, contentType, masked, data } = row;
  const context = [orgId, log, id];
  return {
    ...{ orgId, log, seq, receivedAt, id, source, type, types: [type], extensions, verified },
    ...(subject !== null && { subject }),
    ...(time !== null && { time }),
    ...(contentType !== null && { contentType }),
    ...(masked !== null && { masked }),
    data:
      data === null || key === undefined
        ? (data ?? undefined)
        : await inTurns(openInTurns(key, data, context)),
  };
}
