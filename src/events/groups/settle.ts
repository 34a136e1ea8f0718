import type { Database, Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { inBatches } from "./batches.ts";
import {
  acknowledge,
  extend,
  giveBack,
  giveBackOverdue,
  type BacklogEvent,
  type Delivery,
  type Settled,
} from "./delivery.ts";
import { DeliveryOver, GroupNotFound } from "./errors.ts";
import type { Group } from "./group.ts";
import {
  addToBacklog,
  announceReturned,
  findDeliveries,
  findOverdue,
  findUndone,
  lockGroup,
  saveDelivery,
} from "./store.ts";
import { readToken, tokenOf, type Named } from "./token.ts";

/** What a consumer says of what it was given. */
export type Settlement =
  | { readonly do: "acknowledge" }
  | { readonly do: "give back"; readonly delayMs: number }
  /** Undefined for as long as the group gives. */
  | { readonly do: "extend"; readonly seconds: number | undefined };

/** Settles deliveries by their tokens. */
export interface Settle {
  /** All of them, or none: throws `DeliveryOver` if one is not the consumer's any more. Answers until when it has the rest. */
  (viewer: Viewer, groupId: string, tokens: readonly string[], settlement: Settlement): Promise<Date>;
}

export function createSettle(parts: {
  database: Database;
  now: () => Date;
  /** Called when events may have become free that others wait for. */
  freed: (orgId: string, groupId: string) => void;
}): Settle {
  const { database, now, freed } = parts;

  // Consumers acknowledge one by one, and each commit has the group's lock: those that wait for it share the next one.
  const settle = inBatches<Asked, Date>(async (asked) => {
    const [{ viewer, groupId }] = asked as [Asked];
    const { orgId } = viewer;
    const { group, ends } = await database.record(orgId, async (tx) => {
      const at = now();
      const group = await lockGroup(tx, viewer, groupId);
      if (group === undefined) throw new GroupNotFound();
      await returnOverdue(tx, group, at);
      const hands = await inHands(tx, group, asked);
      const ends: PromiseSettledResult<Date>[] = [];
      for (const one of asked) ends.push(await settleOne(tx, group, hands, one, at));
      for (const id of hands.changed) await saveDelivery(tx, group, deliveryOf(hands, id));
      await addToBacklog(tx, group, hands.backlog);
      if (asked.some(({ settlement }) => settlement.do === "give back")) await announceReturned(tx, group);
      return { group, ends };
    });
    if (group.ordering !== "none") freed(orgId, groupId);
    return ends;
  });

  return async (viewer, groupId, tokens, settlement) => {
    const named = tokens.map(readToken);
    return settle(`${viewer.orgId}/${groupId}`, { viewer, groupId, named, settlement });
  };
}

interface Asked {
  readonly viewer: Viewer;
  readonly groupId: string;
  readonly named: readonly Named[];
  readonly settlement: Settlement;
}

/** The deliveries that a batch names, as they are after each of its settlements. Written once, at its end. */
interface Hands {
  readonly deliveries: Map<string, Delivery>;
  readonly changed: Set<string>;
  /** What was given back so far. */
  readonly backlog: BacklogEvent[];
  /** Which events were acknowledged so far. */
  readonly done: Set<number>;
}

async function inHands(tx: Tx, group: Group, asked: readonly Asked[]): Promise<Hands> {
  const ids = new Set(asked.flatMap(({ named }) => named.map(({ deliveryId }) => deliveryId)));
  const found = await findDeliveries(tx, group, [...ids]);
  const deliveries = new Map(found.map((delivery) => [delivery.id, delivery]));
  return { deliveries, changed: new Set(), backlog: [], done: new Set() };
}

function deliveryOf({ deliveries }: Hands, id: string): Delivery {
  return deliveries.get(id) ?? { id, events: [] };
}

function seqsByDelivery(named: readonly Named[]): ReadonlyMap<string, ReadonlySet<number>> {
  const all = new Map<string, Set<number>>();
  for (const { deliveryId, seq } of named) {
    const seqs = all.get(deliveryId) ?? new Set();
    all.set(deliveryId, seqs.add(seq));
  }
  return all;
}

/** What is refused has no effect, and none on the others. */
async function settleOne(
  tx: Tx,
  group: Group,
  hands: Hands,
  { named, settlement }: Asked,
  now: Date,
): Promise<PromiseSettledResult<Date>> {
  const over = await findOver(tx, group, hands, named, settlement);
  if (over.length > 0) return { status: "rejected", reason: new DeliveryOver(over) };
  const until = untilOf(group, settlement, now);
  for (const [id, seqs] of seqsByDelivery(named)) {
    const { left, backlog } = settled(group, deliveryOf(hands, id), seqs, settlement, { now, until });
    hands.deliveries.set(id, left);
    hands.changed.add(id);
    hands.backlog.push(...backlog);
    if (settlement.do === "acknowledge") for (const seq of seqs) hands.done.add(seq);
  }
  return { status: "fulfilled", value: until };
}

/** Gives back what was not settled in time. Called before anything is decided about the group, under its lock. */
export async function returnOverdue(tx: Tx, group: Group, now: Date): Promise<void> {
  for (const delivery of await findOverdue(tx, group, now)) {
    await save(tx, group, giveBackOverdue(delivery, group, now));
  }
}

async function save(tx: Tx, group: Group, { left, backlog }: Settled): Promise<void> {
  await saveDelivery(tx, group, left);
  await addToBacklog(tx, group, backlog);
}

function settled(
  group: Group,
  delivery: Delivery,
  seqs: ReadonlySet<number>,
  settlement: Settlement,
  { now, until }: { now: Date; until: Date },
): Settled {
  switch (settlement.do) {
    case "acknowledge":
      return { left: acknowledge(delivery, seqs), backlog: [] };
    case "extend":
      return { left: extend(delivery, seqs, until), backlog: [] };
    case "give back":
      return giveBack(delivery, seqs, group, { now, availableAt: until });
  }
}

/** Until when the events are extended, or not delivered. */
function untilOf({ ackSeconds }: Group, settlement: Settlement, now: Date): Date {
  switch (settlement.do) {
    case "acknowledge":
      return now;
    case "extend":
      return new Date(now.getTime() + (settlement.seconds ?? ackSeconds) * 1000);
    case "give back":
      return new Date(now.getTime() + settlement.delayMs);
  }
}

/**
 * The tokens that are of deliveries that are over. An event that is done with may be acknowledged again: a consumer whose
 * acknowledgement was not answered repeats it.
 */
async function findOver(
  tx: Tx,
  group: Group,
  hands: Hands,
  named: readonly Named[],
  settlement: Settlement,
): Promise<readonly string[]> {
  const open = new Map(
    [...seqsByDelivery(named).keys()].map((id) => [
      id,
      new Set(deliveryOf(hands, id).events.map(({ seq }) => seq)),
    ]),
  );
  const over = named.filter(({ deliveryId, seq }) => open.get(deliveryId)?.has(seq) !== true);
  if (over.length === 0 || settlement.do !== "acknowledge") return over.map(tokenOf);
  const stored = await findUndone(tx, group, [...new Set(over.map(({ seq }) => seq))]);
  const returned = new Set(hands.backlog.map(({ seq }) => seq));
  const isUndone = ({ seq }: Named) => returned.has(seq) || (stored.has(seq) && !hands.done.has(seq));
  return over.filter(isUndone).map(tokenOf);
}
