import { setTimeout as pause } from "node:timers/promises";
import type { Database } from "#src/db/database.ts";
import type { NewEvent } from "#src/eventlog/event.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Holding } from "#src/platform/byte-budget.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Position } from "./position.ts";
import type { ClaimedSource } from "./source.ts";
import { advanceSource, type Gap } from "./store.ts";

/** An event that was read, and what it is known again by. */
export interface ReadEvent {
  readonly event: NewEvent;
  readonly key: Buffer;
}

/** What a source may have missed. */
export type Missed = Omit<Gap, "channel">;

/** Stores what is read of one source, for as long as it is this replica's. */
export interface Reading {
  readonly signal: AbortSignal;
  /** What is in memory of it. */
  readonly holding: Pick<Holding, "grow" | "become">;
  /** What the events that come of it name as their source. */
  readonly origin: string;
  /** Stores the events, and moves the position with the last of them. Throws LeaseLost. */
  take(events: readonly ReadEvent[], position: Position): Promise<void>;
  /** Moves the position, and says what may have been missed on the way to it. Throws LeaseLost. */
  advance(position: Position, gap?: Missed): Promise<void>;
}

/** What is taken in at once. */
const maxSliceEvents = 500;
const maxSliceBytes = 4 * 1024 * 1024;
const retryMs = 1_000;

export function createReading(
  parts: {
    eventLog: Pick<EventLog, "accept">;
    database: Pick<Database, "system">;
    holding: Pick<Holding, "grow" | "become">;
    now: () => Date;
  },
  source: ClaimedSource,
  signal: AbortSignal,
): Reading {
  const { eventLog, database, holding, now } = parts;
  const { orgId, channelId } = source;
  let present = source.position;

  async function advance(position: Position, gap?: Missed): Promise<void> {
    const told = gap && { channel: channelId, ...gap };
    await untilStored(
      () => database.system((tx) => advanceSource(tx, source, position, now(), told)),
      signal,
    );
    present = position;
  }

  return {
    ...{ signal, holding },
    origin: source.baseUrl + source.config.path,
    advance,
    async take(events, position) {
      const slices = slicesOf(events);
      for (const [i, slice] of slices.entries()) {
        const isLast = i === slices.length - 1;
        const arrivals = slice.map(({ event, key }) => ({ ...event, key, log: channelId }));
        const next = isLast ? position : present;
        await untilStored(
          () => eventLog.accept(orgId, arrivals, (tx) => advanceSource(tx, source, next, now())),
          signal,
        );
        present = next;
      }
      if (slices.length === 0) await advance(position);
    },
  };
}

function slicesOf(events: readonly ReadEvent[]): ReadEvent[][] {
  const slices: ReadEvent[][] = [];
  let bytes = 0;
  for (const one of events) {
    const slice = slices.at(-1);
    const length = one.event.data?.length ?? 0;
    bytes += length;
    if (slice !== undefined && slice.length < maxSliceEvents && bytes <= maxSliceBytes) slice.push(one);
    else {
      slices.push([one]);
      bytes = length;
    }
  }
  return slices;
}

/** Tries again while nothing can be stored: what was read already may not come a second time. */
async function untilStored(store: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    try {
      await store();
      return;
    } catch (error) {
      if (!(error instanceof ServiceError && error.kind === "unavailable")) throw error;
    }
    await pause(retryMs, undefined, { signal });
  }
}
