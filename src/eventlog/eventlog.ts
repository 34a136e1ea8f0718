import type { KeyObject } from "node:crypto";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import { open, seal } from "#src/crypto/seal.ts";
import type { Database, Tx } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { eventOfRecord } from "./audit-events.ts";
import { createDataKeys } from "./data-keys.ts";
import { CursorExpired, LogNotFound } from "./errors.ts";
import { auditLog, serviceLog, type LoggedEvent } from "./event.ts";
import { createIntake, type Accepted, type Arrival, type WrittenWith } from "./intake.ts";
import { keepDays } from "./intake-store.ts";
import type { events } from "./schema.ts";
import { auditSeq, earliestSeq, findHead, insertHead, readAudit, readEvents, type Stretch } from "./store.ts";
import { createUpkeep, type Upkeep } from "./upkeep.ts";
import { createWakes, type Wakes } from "./wakes.ts";

/** Where a log begins and ends. */
export interface Bounds {
  /** The lowest number that is kept; one more than `last` if none is. */
  readonly earliest: number;
  /** The highest number; 0 of a log in which nothing was yet. */
  readonly last: number;
}

/** How long a log keeps. */
export interface Retention {
  readonly retentionSeconds: number;
  readonly dedupSeconds: number;
}

/**
 * The logs of events: one for each channel, the audit log, and one of this service's own. The numbers of a log begin at
 * 1, have no gaps and are in the order of commits: a reader who has seen n has seen all before n.
 */
export interface EventLog {
  /**
   * Takes in what came for one channel of the organisation, all of it or nothing, and answers once it is committed. Throws
   * LogNotFound if there is no such channel (any more), IntakeUnavailable if nothing can be stored right now. What is
   * written with them, such as how far their source was read, is committed if and only if they are.
   */
  accept(orgId: string, arrivals: readonly Arrival[], also?: WrittenWith): Promise<readonly Accepted[]>;
  /** Events in their order. Throws LogNotFound, and CursorExpired for what is no longer kept. */
  read(orgId: string, log: string, stretch: Stretch): Promise<readonly LoggedEvent[]>;
  /** Throws LogNotFound. */
  bounds(orgId: string, log: string): Promise<Bounds>;
  /** Makes a channel's log, in the transaction that makes the channel. `prepare` comes before that. */
  create(sealer: Sealer, tx: Tx, orgId: string, log: string, kept: Retention): Promise<void>;
  /** Sees to it that what a log takes in that keeps for so long can be stored. */
  prepare(kept: Retention): Promise<void>;
  readonly wakes: Wakes;
  /** Makes days ahead, and drops those that are over, once it is started. */
  readonly upkeep: Upkeep;
}

/** Creates the logs. */
export async function createEventLog(parts: {
  database: Database;
  keyring: Keyring;
  log: Log;
  now: () => Date;
}): Promise<EventLog> {
  const { database, now } = parts;
  const keys = createDataKeys(parts);
  const intake = createIntake(parts);

  async function readChannel(orgId: string, log: string, stretch: Stretch) {
    const rows = await database.read(orgId, async (tx) => {
      const head = await findHead(tx, orgId, log);
      if (head === undefined) {
        if (log === serviceLog) return [];
        throw new LogNotFound();
      }
      const found = await readEvents(tx, orgId, log, stretch);
      if (stretch.after < head.seq && found[0]?.seq !== stretch.after + 1) {
        throw new CursorExpired(log, await earliestSeq(tx, head));
      }
      return found;
    });
    const key = log === serviceLog ? undefined : await keys.keyOf(orgId, log);
    return rows.map((row) => eventOfRow(row, key));
  }

  return {
    async accept(orgId, arrivals, also) {
      const sealed = await Promise.all(
        arrivals.map(async (arrival) => {
          const { data, log, id } = arrival;
          if (data === undefined) return { ...arrival, dataBytes: 0 };
          const key = await keys.keyOf(orgId, log);
          return { ...arrival, data: seal(key, data, [orgId, log, id]), dataBytes: data.length };
        }),
      );
      const accepted = await intake(sealed, also);
      return accepted.map((one) => {
        if (one === undefined) throw new LogNotFound();
        return one;
      });
    },
    async read(orgId, log, stretch) {
      if (log !== auditLog) return readChannel(orgId, log, stretch);
      const records = await database.read(orgId, (tx) => readAudit(tx, orgId, stretch));
      return records.map(eventOfRecord);
    },
    bounds: (orgId, log) =>
      database.read(orgId, async (tx) => {
        if (log === auditLog) return { earliest: 1, last: await auditSeq(tx, orgId) };
        const head = await findHead(tx, orgId, log);
        if (head !== undefined) return { earliest: await earliestSeq(tx, head), last: head.seq };
        if (log === serviceLog) return { earliest: 1, last: 0 };
        throw new LogNotFound();
      }),
    async create(sealer, tx, orgId, log, kept) {
      await insertHead(tx, { orgId, log, ...kept, ...(await keys.newKey(sealer, tx, orgId, log)) });
    },
    prepare: ({ retentionSeconds, dedupSeconds }) =>
      database.system((tx) => keepDays(tx, now(), [retentionSeconds, dedupSeconds])),
    wakes: await createWakes(database),
    upkeep: createUpkeep(parts),
  };
}

function eventOfRow(row: typeof events.$inferSelect, key: KeyObject | undefined): LoggedEvent {
  const { orgId, log, seq, receivedAt, id, source, type, extensions, verified } = row;
  const { subject, time, contentType, masked, data } = row;
  return {
    ...{ orgId, log, seq, receivedAt, id, source, type, types: [type], extensions, verified },
    ...(subject !== null && { subject }),
    ...(time !== null && { time }),
    ...(contentType !== null && { contentType }),
    ...(masked !== null && { masked }),
    data: data === null || key === undefined ? (data ?? undefined) : open(key, data, [orgId, log, id]),
  };
}
