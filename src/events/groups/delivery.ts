import type { Group } from "./group.ts";

/** An event in a consumer's hands. */
export interface OutEvent {
  readonly seq: number;
  /** What it holds up until it is settled; null for nothing. */
  readonly key: string | null;
  /** Which delivery of it this is, counted from 1. */
  readonly attempt: number;
  /** When it is given back, in milliseconds. */
  readonly until: number;
}

/** What one answer to a pull gave out, as far as it is not settled. Events are in the order of their numbers. */
export interface Delivery {
  readonly id: string;
  readonly events: readonly OutEvent[];
}

/** An event that is in no hand. */
export interface BacklogEvent {
  readonly seq: number;
  readonly key: string | null;
  /** How often it was delivered so far. */
  readonly deliveries: number;
  readonly availableAt: Date;
  /** Null while it waits. */
  readonly deadAt: Date | null;
  readonly deadReason: "deliveries" | "expired" | null;
}

/** A delivery after some of its events left it. */
export interface Settled {
  readonly left: Delivery;
  readonly backlog: readonly BacklogEvent[];
}

type Limits = Pick<Group, "maxDeliveries">;

/** Without the events that are done with. */
export function acknowledge(delivery: Delivery, seqs: ReadonlySet<number>): Delivery {
  return { ...delivery, events: delivery.events.filter(({ seq }) => !seqs.has(seq)) };
}

/** With more time for some of its events. */
export function extend(delivery: Delivery, seqs: ReadonlySet<number>, until: Date): Delivery {
  const later = (event: OutEvent) => (seqs.has(event.seq) ? { ...event, until: until.getTime() } : event);
  return { ...delivery, events: delivery.events.map(later) };
}

/**
 * Without the events that their consumer gives back, and without those that these hold up. Only the former count as
 * delivered: what came behind an event that fails again and again must not be dead with it.
 */
export function giveBack(
  delivery: Delivery,
  seqs: ReadonlySet<number>,
  { maxDeliveries }: Limits,
  { now, availableAt }: { now: Date; availableAt: Date },
): Settled {
  const heldUp = new Set<string>();
  const left: OutEvent[] = [];
  const backlog: BacklogEvent[] = [];
  for (const event of delivery.events) {
    const { seq, key } = event;
    if (seqs.has(seq)) {
      backlog.push(returned(event, event.attempt, availableAt, maxDeliveries, now));
      if (key !== null) heldUp.add(key);
    } else if (key !== null && heldUp.has(key)) {
      backlog.push(returned(event, event.attempt - 1, now, maxDeliveries, now));
    } else left.push(event);
  }
  return { left: { ...delivery, events: left }, backlog };
}

/**
 * Without the events whose time is over. Their consumer may have ended with the first of those that are in an order, so
 * only that one counts as delivered.
 */
export function giveBackOverdue(delivery: Delivery, { maxDeliveries }: Limits, now: Date): Settled {
  const started = new Set<string>();
  const left: OutEvent[] = [];
  const backlog: BacklogEvent[] = [];
  for (const event of delivery.events) {
    const { key, attempt, until } = event;
    const isBehind = key !== null && started.has(key);
    if (until > now.getTime() && !isBehind) left.push(event);
    else backlog.push(returned(event, isBehind ? attempt - 1 : attempt, now, maxDeliveries, now));
    if (key !== null && until <= now.getTime()) started.add(key);
  }
  return { left: { ...delivery, events: left }, backlog };
}

/** All of it given back, as if it never had been delivered: it did not reach its consumer. */
export function undeliver(events: readonly OutEvent[], now: Date): BacklogEvent[] {
  return events.map(({ seq, key, attempt }) => waiting(seq, key, attempt - 1, now));
}

/** An event that waits to be delivered. */
export function waiting(
  seq: number,
  key: string | null,
  deliveries: number,
  availableAt: Date,
): BacklogEvent {
  return { seq, key, deliveries, availableAt, deadAt: null, deadReason: null };
}

function returned(
  { seq, key }: OutEvent,
  deliveries: number,
  availableAt: Date,
  maxDeliveries: number,
  now: Date,
): BacklogEvent {
  const isDead = deliveries >= maxDeliveries;
  const back = waiting(seq, key, deliveries, availableAt);
  return isDead ? { ...back, deadAt: now, deadReason: "deliveries" } : back;
}
