import type { Database, Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
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

  return async (viewer, groupId, tokens, settlement) => {
    const named = tokens.map(readToken);
    const at = now();
    const { until, group } = await database.record(viewer.orgId, async (tx) => {
      const group = await lockGroup(tx, viewer, groupId);
      if (group === undefined) throw new GroupNotFound();
      await returnOverdue(tx, group, at);
      const found = await findDeliveries(tx, group, [...new Set(named.map((one) => one.deliveryId))]);
      await requireOpen(tx, group, named, found, settlement);
      const until = untilOf(group, settlement, at);
      for (const delivery of found) {
        const seqs = new Set(named.flatMap((one) => (one.deliveryId === delivery.id ? [one.seq] : [])));
        await save(tx, group, settled(group, delivery, seqs, settlement, { now: at, until }));
      }
      if (settlement.do === "give back") await announceReturned(tx, group);
      return { until, group };
    });
    if (group.ordering !== "none") freed(viewer.orgId, groupId);
    return until;
  };
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
 * Refuses tokens of deliveries that are over. An event that is done with may be acknowledged again: a consumer whose
 * acknowledgement was not answered repeats it.
 */
async function requireOpen(
  tx: Tx,
  group: Group,
  named: readonly Named[],
  found: readonly Delivery[],
  settlement: Settlement,
): Promise<void> {
  const open = new Set(
    found.flatMap(({ id: deliveryId, events }) => events.map(({ seq }) => tokenOf({ deliveryId, seq }))),
  );
  let over = named.filter((one) => !open.has(tokenOf(one)));
  if (over.length === 0) return;
  if (settlement.do === "acknowledge") {
    const undone = await findUndone(tx, group, [...new Set(over.map(({ seq }) => seq))]);
    over = over.filter(({ seq }) => undone.has(seq));
  }
  if (over.length > 0) throw new DeliveryOver(over.map(tokenOf));
}
