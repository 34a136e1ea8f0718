import type { Database, Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { inBatches } from "./batches.ts";
import { acknowledge, extend, giveBack, giveBackOverdue, type Delivery, type Settled } from "./delivery.ts";
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
      const ends: PromiseSettledResult<Date>[] = [];
      for (const one of asked) ends.push(await settleOne(tx, group, one, at));
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

/** What is refused has no effect, and none on the others. */
async function settleOne(
  tx: Tx,
  group: Group,
  { named, settlement }: Asked,
  now: Date,
): Promise<PromiseSettledResult<Date>> {
  const found = await findDeliveries(tx, group, [...new Set(named.map((one) => one.deliveryId))]);
  const over = await findOver(tx, group, named, found, settlement);
  if (over.length > 0) return { status: "rejected", reason: new DeliveryOver(over) };
  const until = untilOf(group, settlement, now);
  for (const delivery of found) {
    const seqs = new Set(named.flatMap((one) => (one.deliveryId === delivery.id ? [one.seq] : [])));
    await save(tx, group, settled(group, delivery, seqs, settlement, { now, until }));
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
  named: readonly Named[],
  found: readonly Delivery[],
  settlement: Settlement,
): Promise<readonly string[]> {
  const open = new Set(
    found.flatMap(({ id: deliveryId, events }) => events.map(({ seq }) => tokenOf({ deliveryId, seq }))),
  );
  const over = named.filter((one) => !open.has(tokenOf(one)));
  if (over.length === 0 || settlement.do !== "acknowledge") return over.map(tokenOf);
  const undone = await findUndone(tx, group, [...new Set(over.map(({ seq }) => seq))]);
  return over.filter(({ seq }) => undone.has(seq)).map(tokenOf);
}
