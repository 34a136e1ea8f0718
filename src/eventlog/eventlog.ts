import { randomBytes } from "node:crypto";
import { sealInTurns } from "#src/crypto/seal.ts";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { within } from "#src/platform/within.ts";
import { createIntakeCounts } from "./counts.ts";
import { createDataKeys } from "./data-keys.ts";
import { IntakeUnavailable, LogNotFound } from "./errors.ts";
import type { LoggedEvent } from "./event.ts";
import { createIntake, type Accepted, type Arrival, type WrittenWith } from "./intake.ts";
import { keepDays, roomOf, uploadData, type SealedArrival } from "./intake-store.ts";
import { createLookout } from "./lookout.ts";
import { createQuota } from "./quota.ts";
import { createReader, type Bounds } from "./reader.ts";
import { deleteLog, insertHead, pieceBytes, setRetention, type Retention, type Stretch } from "./store.ts";
import { createTail, type Tail } from "./tail.ts";
import { createUpkeep, type Upkeep } from "./upkeep.ts";
import { createWakes, type Wakes } from "./wakes.ts";

/**
 * The logs of events: one for each channel, the audit log, and one of this service's own. The numbers of a log begin at
 * 1, have no gaps and are in the order of commits: a reader who has seen n has seen all before n.
 */
export interface EventLog {
  /**
   * Takes in what came for one channel of the organisation, all of it or nothing, and answers once it is committed, or
   * after about three seconds. Throws LogNotFound if there is no such channel (any more), QuotaExhausted if the
   * organisation's events take all their room, IntakeUnavailable if nothing can be stored right now. What is written
   * with them, such as how far their source was read, is committed if and only if they are. Of the three seconds,
   * only so many may be left.
   */
  accept(
    orgId: string,
    arrivals: readonly Arrival[],
    also?: WrittenWith,
    leftMs?: number,
  ): Promise<readonly Accepted[]>;
  /** Events in their order. Throws LogNotFound, and CursorExpired for what is no longer kept. */
  read(orgId: string, log: string, stretch: Stretch): Promise<readonly LoggedEvent[]>;
  /** Throws LogNotFound. */
  bounds(orgId: string, log: string): Promise<Bounds>;
  /** The ends of logs, read once for all who read there. */
  readonly tail: Tail;
  /** Makes a channel's log, in the transaction that makes the channel. `prepare` comes before that. */
  create(sealer: Sealer, tx: Tx, orgId: string, log: string, kept: Retention): Promise<void>;
  /** Sets how long a channel's log keeps, in the transaction that updates the channel. What is over stays so. */
  keep(tx: Tx, orgId: string, log: string, kept: Retention): Promise<void>;
  /** Ends a channel's log, last in the transaction that deletes the channel: nobody can read it any more. */
  remove(tx: Tx, log: string): Promise<void>;
  /** Sees to it that what a log takes in that keeps for so long can be stored. */
  prepare(kept: Retention): Promise<void>;
  readonly wakes: Wakes;
  /** Makes days ahead, and drops those that are over, once it is started. */
  readonly upkeep: Upkeep;
}

/** Senders give up: Slack after as long as this. */
export const answerMs = 3_000;

/** Creates the logs. */
export async function createEventLog(parts: {
  database: Database;
  keyring: Keyring;
  /** How much the events of one organisation may take. */
  eventStorageMib: number;
  meter: Meter;
  log: Log;
  now: () => Date;
}): Promise<EventLog> {
  const { database, now } = parts;
  const keys = createDataKeys(parts);
  const counts = createIntakeCounts(parts.meter);
  const intake = createIntake(parts);
  const quota = createQuota({ database, limitBytes: parts.eventStorageMib * 1024 * 1024 });
  const reader = createReader({ database, keys, now });
  const wakes = await createWakes(database);
  const tail = createTail({ reader, now, lookout: createLookout({ database, wakes }) });
  await database.listen({
    notified(what) {
      if (what.startsWith("organization/")) keys.forgetOrganization(what.slice("organization/".length));
      if (!what.startsWith("log/")) return;
      keys.forget(what.slice(4));
      tail.forget(what.slice(4));
    },
    listening() {
      keys.forget();
      tail.forget();
    },
  });

  async function admitted(orgId: string, arrivals: readonly Arrival[]): Promise<readonly SealedArrival[]> {
    const sized = arrivals.map((one) => ({ ...one, dataBytes: one.data?.length ?? 0, room: roomOf(one) }));
    await quota.take(
      orgId,
      sized.reduce((sum, { room }) => sum + room, 0),
    );
    return Promise.all(sized.map((one) => sealed(orgId, one)));
  }

  async function sealed(orgId: string, arrival: SealedArrival): Promise<SealedArrival> {
    const { data, log, id } = arrival;
    if (data === undefined) return arrival;
    const key = keys.knownKey(orgId, log) ?? (await keys.keyOf(orgId, log));
    const bytes = await inTurns(sealInTurns(key, data, [orgId, log, id]));
    if (bytes.length <= pieceBytes) return { ...arrival, data: bytes };
    const upload = randomBytes(16);
    await database.system((tx) => uploadData(tx, upload, bytes, now()));
    return { ...arrival, data: undefined, upload };
  }

  return {
    async accept(orgId, arrivals, also, leftMs = answerMs) {
      requireStorable(arrivals);
      using counted = counts.arrived(arrivals.length);
      try {
        const began = performance.now();
        // Asks the database only for what is not known from before.
        const sealed = await within(leftMs, admitted(orgId, arrivals), () => IntakeUnavailable.late());
        const accepted = await intake(orgId, sealed, also, leftMs - (performance.now() - began));
        const stored = accepted.map((one) => {
          if (one === undefined) throw new LogNotFound();
          return one;
        });
        counted.stored(stored);
        return stored;
      } catch (error) {
        counted.refused(error);
        throw IntakeUnavailable.of(error);
      }
    },
    read: async (orgId, log, stretch) => (await reader.read(orgId, log, stretch)).events,
    bounds: (orgId, log) => reader.bounds(orgId, log),
    tail,
    async create(sealer, tx, orgId, log, kept) {
      await insertHead(tx, { orgId, log, ...kept, ...(await keys.newKey(sealer, tx, orgId, log)) });
    },
    keep: (tx, orgId, log, kept) => setRetention(tx, orgId, log, kept, now()),
    remove: (tx, log) => deleteLog(tx, log),
    prepare: ({ retentionSeconds, dedupSeconds }) =>
      database.system((tx) => keepDays(tx, now(), [retentionSeconds, dedupSeconds])),
    wakes,
    upkeep: createUpkeep(parts),
  };
}

/** Postgres keeps no NUL in texts. Refused here, since the whole batch would fail for it. */
function requireStorable(arrivals: readonly Arrival[]): void {
  for (const { id, source, type, subject = "", time = "", contentType = "", extensions } of arrivals) {
    if ([id, source, type, subject, time, contentType].some((text) => text.includes("\0"))) {
      throw new InvalidRequest("an attribute of the event has the character NUL in it: send it without");
    }
    if (JSON.stringify(extensions).includes("\\u0000")) {
      throw new InvalidRequest("an extension of the event has the character NUL in it: send it without");
    }
  }
}
