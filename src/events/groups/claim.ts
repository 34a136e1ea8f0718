import { randomBytes } from "node:crypto";
import type { Tx } from "#src/db/database.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { choose, together } from "./choice.ts";
import { undeliver, type OutEvent } from "./delivery.ts";
import { GroupNotFound } from "./errors.ts";
import type { Group } from "./group.ts";
import { returnOverdue } from "./settle.ts";
import {
  addToBacklog,
  announceReturned,
  findAvailable,
  findDeliveries,
  findPending,
  insertDelivery,
  lockGroup,
  saveDelivery,
  savePosition,
  takeFromBacklog,
  type GroupRef,
} from "./store.ts";

/** What a pull is given: the delivery is committed, so that no other has these events. */
export interface Claimed {
  readonly group: Group;
  readonly deliveryId: string;
  readonly events: readonly OutEvent[];
  /** How far the group has come. */
  readonly seq: number;
}

/** What was read of the log behind a position. */
export interface ReadAhead {
  readonly after: number;
  readonly events: readonly LoggedEvent[];
}

/** With more in flight, its consumers are too slow, or gone: further events would only be given back. */
const mostInFlight = 10_000;
/** What waits while others pass is looked through by each pull. */
const mostWaiting = 1_000;

/** Takes events for a consumer: those of the backlog first, else what was read ahead of the group's position. */
export async function claim(
  tx: Tx,
  viewer: Viewer,
  groupId: string,
  { ahead, max, now }: { ahead: ReadAhead; max: number; now: Date },
): Promise<Claimed> {
  const group = await lockGroup(tx, viewer, groupId);
  if (group === undefined) throw new GroupNotFound();
  await returnOverdue(tx, group, now);
  const until = now.getTime() + group.ackSeconds * 1000;
  const deliveryId = randomBytes(16).toString("base64url");

  const available = together(await findAvailable(tx, group, now, max), group);
  if (available.length > 0) {
    const seqs = available.map(({ seq }) => seq);
    const events = available.map(({ seq, key, deliveries }) => ({
      seq,
      key,
      attempt: deliveries + 1,
      until,
    }));
    await takeFromBacklog(tx, group, seqs);
    await insertDelivery(tx, group, { id: deliveryId, events });
    return { group, deliveryId, events, seq: group.seq };
  }

  // Another consumer may have come further meanwhile; after a seek back, what was read is of another place.
  const following = group.seq < ahead.after ? [] : ahead.events.filter(({ seq }) => seq > group.seq);
  if (following.length === 0) return { group, deliveryId, events: [], seq: group.seq };
  const { inFlight, waiting, keys } = await findPending(tx, group);
  const choice = choose(group, following, {
    most: Math.min(max, Math.max(0, mostInFlight - inFlight)),
    busy: keys,
    mayWait: Math.max(0, mostWaiting - waiting),
    now,
  });
  const events = choice.taken.map(({ event, key }) => ({ seq: event.seq, key, attempt: 1, until }));
  if (events.length > 0) await insertDelivery(tx, group, { id: deliveryId, events });
  await addToBacklog(tx, group, choice.heldUp);
  if (choice.seq !== group.seq) await savePosition(tx, group, choice.seq);
  return { group, deliveryId, events, seq: choice.seq };
}

/**
 * Gives events back that did not reach their consumer, at once and as if they never had been delivered. Those that the
 * log no longer keeps are dead: nobody can be given them any more.
 */
export async function unclaim(
  tx: Tx,
  viewer: Viewer,
  { group: { id: groupId }, deliveryId }: { group: GroupRef; deliveryId: string },
  { seqs, expired, now }: { seqs: ReadonlySet<number>; expired: ReadonlySet<number>; now: Date },
): Promise<void> {
  const group = await lockGroup(tx, viewer, groupId);
  const [delivery] = group === undefined ? [] : await findDeliveries(tx, group, [deliveryId]);
  if (group === undefined || delivery === undefined) return;
  const leaves = ({ seq }: OutEvent) => seqs.has(seq) || expired.has(seq);
  await saveDelivery(tx, group, { ...delivery, events: delivery.events.filter((event) => !leaves(event)) });
  const back = undeliver(delivery.events.filter(leaves), now).map((event) =>
    expired.has(event.seq) ? { ...event, deadAt: now, deadReason: "expired" as const } : event,
  );
  await addToBacklog(tx, group, back);
  await announceReturned(tx, group);
}
