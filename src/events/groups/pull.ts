import type { Database } from "#src/db/database.ts";
import { auditLog, type LoggedEvent } from "#src/eventlog/event.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { turnsByName } from "#src/platform/turns-by-name.ts";
import { WaitedTooLong } from "#src/platform/turns.ts";
import { fitting, messageBytes } from "../messages.ts";
import { claim, unclaim, type Claimed, type ReadAhead } from "./claim.ts";
import { GroupNotFound } from "./errors.ts";
import type { Group } from "./group.ts";
import { readEach } from "./read-each.ts";
import { findDue, findGroup, type Due } from "./store.ts";
import { tokenOf } from "./token.ts";
import type { GroupWakes } from "./wakes.ts";

/** An event for a consumer. */
export interface Delivered {
  readonly token: string;
  readonly event: LoggedEvent;
  readonly attempt: number;
}

/** What a consumer asks for. */
export interface Asked {
  readonly groupId: string;
  readonly max: number;
  readonly waitMs: number;
  /** Aborted when the caller is gone: what it was to be given is given back. */
  readonly signal: AbortSignal;
  /** Fails if the caller may not have it any more. Called after each wait. */
  readonly recheck: () => Promise<void>;
}

/** Gives a consumer events of a group, and waits for some if there are none. */
export type Pull = (viewer: Viewer, asked: Asked) => Promise<readonly Delivered[]>;

interface Look {
  readonly found: readonly Delivered[];
  readonly group: Group;
  readonly dueAt: Date | undefined;
}

/** Of events that `types` may leave out, more are read at once. */
const fewestRead = 200;
/** A look that passes over many events that `types` leave out ends here; the next one goes on. */
const lookForMs = 3_000;
/** A wake is a hint: whoever waits also looks by itself. */
const lookEveryMs = 5_000;
/** What other replicas record of changes, or acknowledge, is not announced. */
const lookSoonMs = 1_000;

export function createPull(parts: {
  database: Database;
  eventLog: EventLog;
  wakes: GroupWakes;
  now: () => Date;
}): Pull {
  const { database, eventLog, wakes, now } = parts;
  const inLine = turnsByName();

  async function readAhead({ orgId, log, seq: after, types }: Group, max: number): Promise<ReadAhead> {
    const limit = types.length === 0 ? max : Math.max(max, fewestRead);
    const events = await eventLog.tail.read(orgId, log, { after, limit, maxBytes: messageBytes });
    return { after, events: fitting(events) };
  }

  /** The events that were claimed, read; what cannot be delivered is given back. */
  async function deliver(viewer: Viewer, { signal }: Asked, claimed: Claimed, ahead: ReadAhead) {
    const { group, deliveryId, events } = claimed;
    const seqs = events.map(({ seq }) => seq);
    const giveBack = (left: readonly number[], expired: readonly number[] = []) =>
      database.record(viewer.orgId, (tx) =>
        unclaim(tx, viewer, claimed, { seqs: new Set(left), expired: new Set(expired), now: now() }),
      );
    try {
      const known = new Map(ahead.events.map((event) => [event.seq, event]));
      const { read, left, expired } = seqs.every((seq) => known.has(seq))
        ? { read: known, left: [], expired: [] }
        : await readEach(eventLog, group, seqs);
      signal.throwIfAborted();
      if (left.length + expired.length > 0) await giveBack(left, expired);
      return events.flatMap(({ seq, attempt }): Delivered[] => {
        const event = read.get(seq);
        return event === undefined ? [] : [{ token: tokenOf({ deliveryId, seq }), event, attempt }];
      });
    } catch (error) {
      if (seqs.length > 0) await giveBack(seqs);
      throw error;
    }
  }

  async function look(viewer: Viewer, asked: Asked): Promise<Look> {
    const { groupId, max, signal } = asked;
    const nothing: ReadAhead = { after: Infinity, events: [] };
    const take = async (ahead: ReadAhead) => {
      signal.throwIfAborted();
      const claimed = await database.record(viewer.orgId, (tx) =>
        claim(tx, viewer, groupId, { ahead, max, now: now() }),
      );
      return { claimed, found: await deliver(viewer, asked, claimed, ahead) };
    };
    const endsAt = performance.now() + lookForMs;
    for (;;) {
      const { group, due } = await findWhatIsDue(viewer, groupId);
      if (due.isNow) {
        const { claimed, found } = await take(nothing);
        if (found.length > 0) return { found, group, dueAt: due.next };
        if (claimed.events.length > 0) continue;
      }
      const ahead = await readAhead(group, max);
      if (ahead.events.length === 0) return { found: [], group, dueAt: due.next };
      const { claimed, found } = await take(ahead);
      // If it has not moved, the order holds up what follows, until something is settled.
      const hasMoved = claimed.seq !== ahead.after || claimed.events.length > 0;
      if (found.length > 0 || !hasMoved || performance.now() > endsAt) {
        return { found, group, dueAt: due.next };
      }
    }
  }

  function findWhatIsDue(viewer: Viewer, groupId: string): Promise<{ group: Group; due: Due }> {
    return database.read(viewer.orgId, async (tx) => {
      const group = await findGroup(tx, viewer, groupId);
      if (group === undefined) throw new GroupNotFound();
      return { group, due: await findDue(tx, group, now()) };
    });
  }

  /** Looks each time when there may be something, until there is, or until time is up. */
  async function waitFor(viewer: Viewer, asked: Asked, group: Group, endsAt: number) {
    using bell = wakes.bell(group);
    for (;;) {
      await asked.recheck();
      const { found, dueAt } = await look(viewer, asked);
      const leftMs = endsAt - performance.now();
      if (found.length > 0 || leftMs <= 0 || wakes.isStopped) return found;
      const isAnnounced = group.log !== auditLog && group.ordering === "none";
      const dueMs = dueAt === undefined ? Infinity : Math.max(0, dueAt.getTime() - now().getTime());
      await bell.next(Math.min(leftMs, dueMs, isAnnounced ? lookEveryMs : lookSoonMs), asked.signal);
    }
  }

  return async (viewer, asked) => {
    const endsAt = performance.now() + asked.waitMs;
    const { found, group } = await look(viewer, asked);
    if (found.length > 0 || asked.waitMs === 0) return found;
    try {
      // One of those that wait looks for all of them; with what it finds, it makes room for the next.
      return await inLine(`${viewer.orgId}/${group.id}`, () => waitFor(viewer, asked, group, endsAt), {
        signal: asked.signal,
        patienceMs: asked.waitMs,
      });
    } catch (error) {
      if (error instanceof WaitedTooLong) return [];
      throw error;
    }
  };
}
