import { CursorExpired, LogNotFound } from "#src/eventlog/errors.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { selectedType } from "#src/eventlog/selection.ts";
import type { Behind, DueEndpoint, Parked } from "./dispatch-store.ts";

/** An event that an endpoint is to get. */
export interface Item extends Parked {
  readonly event: LoggedEvent;
  /** As which of its types. */
  readonly type: string;
  /** Whether it was read behind the cursor, and not parked before. */
  readonly isFresh: boolean;
  /** Whether it waits for an event that failed, and is only to be parked. */
  readonly waits: boolean;
}

/** How far a log was read for it. */
export interface Reach extends Behind {
  /** The number of the last event that was looked at, and of the last one that the types selected. */
  readonly seq: number;
  readonly selected: number | null;
}

/** What there is to send. */
export interface Collected {
  readonly items: readonly Item[];
  readonly reaches: readonly Reach[];
  /** Of what was parked: what is no longer kept, and what the endpoint's types no longer select. */
  readonly expired: readonly Parked[];
  readonly dropped: readonly Parked[];
}

/** Reads events of a log behind a number. */
export type ReadLog = (
  orgId: string,
  log: string,
  after: number,
  limit: number,
) => Promise<readonly LoggedEvent[]>;

const batchSize = 50;
const readSize = 100;
/** Of events that the types do not select, before others have their turn. */
const maxLooked = 1_000;

/**
 * Finds what a turn is to send, at most what the endpoint takes in one. What failed before and what is new alternate:
 * events that the endpoint never takes must not look like an endpoint that takes nothing.
 */
export async function collect(endpoint: DueEndpoint, read: ReadLog, now: Date): Promise<Collected> {
  const { behind, perSecond } = endpoint;
  const { parked, fresh } = sharesOf(endpoint, Math.min(batchSize, perSecond ?? batchSize));
  const again: Item[] = [];
  const items: Item[] = [];
  const expired: Parked[] = [];
  const dropped: Parked[] = [];
  for (const one of parked) {
    const event = await find(endpoint.orgId, one, read);
    if (event === undefined) {
      expired.push(one);
      continue;
    }
    const type = one.redelivery
      ? (selectedType(event, endpoint.types) ?? event.type)
      : typeFor(endpoint, event);
    if (type === undefined) dropped.push(one);
    else again.push({ ...one, event, type, isFresh: false, waits: false });
  }
  const reaches: Reach[] = [];
  for (const [i, one] of (fresh > 0 ? behind : []).entries()) {
    // What one log does not use is for the others.
    const limit = Math.ceil((fresh - items.length) / (behind.length - i));
    if (limit > 0) reaches.push(await readOn(endpoint, one, { read, limit, now, items }));
  }
  return { items: alternating(again, items), reaches, expired, dropped };
}

/**
 * How many events a turn takes from which side. One that fails is tried with one event: in turns with one that failed
 * before and with a new one, as it may be that it cannot take the former and takes all others.
 */
function sharesOf({ state, failures, parked, behind }: DueEndpoint, most: number) {
  if (state === "active") {
    const first = parked.slice(0, behind.length > 0 ? Math.ceil(most / 2) : most);
    return { parked: first, fresh: most - first.length };
  }
  const takesNew = behind.length > 0 && failures % 2 === 1 && parked[0]?.redelivery !== true;
  return takesNew || parked.length === 0
    ? { parked: [], fresh: 1 }
    : { parked: parked.slice(0, 1), fresh: 0 };
}

function alternating<T>(some: readonly T[], others: readonly T[]): T[] {
  const length = Math.max(some.length, others.length);
  return Array.from({ length }, (_, i) => [...some.slice(i, i + 1), ...others.slice(i, i + 1)]).flat();
}

async function find(orgId: string, { log, seq }: Parked, read: ReadLog): Promise<LoggedEvent | undefined> {
  try {
    const [event] = await read(orgId, log, seq - 1, 1);
    return event?.seq === seq ? event : undefined;
  } catch (error) {
    if (error instanceof CursorExpired || error instanceof LogNotFound) return undefined;
    throw error;
  }
}

async function readOn(
  endpoint: DueEndpoint,
  behind: Behind,
  { read, limit, now, items }: { read: ReadLog; limit: number; now: Date; items: Item[] },
): Promise<Reach> {
  const { orgId, blocked } = endpoint;
  const { log } = behind;
  let [seq, selected, taken] = [behind.after, behind.previous, 0];
  const reach = (): Reach => ({ ...behind, seq, selected });
  while (seq < behind.head && seq - behind.after < maxLooked) {
    let events: readonly LoggedEvent[];
    try {
      events = await read(orgId, log, seq, readSize);
    } catch (error) {
      if (error instanceof LogNotFound) return reach();
      if (!(error instanceof CursorExpired)) throw error;
      // What lies before is gone for everyone. A chain begins behind it, so that the receiver sees that, too.
      [seq, selected] = [Number(error.metadata["earliest"]) - 1, null];
      continue;
    }
    if (events.length === 0) return reach();
    for (const event of events) {
      const type = typeFor(endpoint, event);
      seq = event.seq;
      if (type === undefined) continue;
      const subject = event.subject ?? null;
      const waits = blocked.has(`${log} ${subject}`) && subject !== null;
      const rest = { attempts: 0, redelivery: false, webhookId: null, parkedAt: now, isFresh: true };
      items.push({ log, seq, previous: selected, subject, ...rest, event, type, waits });
      selected = seq;
      if (!waits && ++taken >= limit) return reach();
    }
  }
  return reach();
}

/** An endpoint is not told of itself: that it fails is nothing that it could take. */
function typeFor({ id, types }: DueEndpoint, event: LoggedEvent): string | undefined {
  if (event.subject === id && event.log === "service") return undefined;
  return selectedType(event, types);
}
