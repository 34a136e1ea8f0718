import { Members } from "#src/platform/members.ts";
import type { Accepted, WrittenWith } from "./intake.ts";
import type { SealedArrival } from "./intake-store.ts";

/** A call that waits for its events to be stored. */
export interface Waiting extends PromiseWithResolvers<readonly (Accepted | undefined)[]> {
  readonly orgId: string;
  readonly arrivals: readonly SealedArrival[];
  readonly also: WrittenWith | undefined;
}

/** Those that wait, in the order in which they came. */
export interface Line {
  readonly isEmpty: boolean;
  /** Answers how to leave it, which answers whether it was still in the line; undefined if it has no room. */
  join(one: Waiting): (() => boolean) | undefined;
  /** Takes out what goes into one transaction. */
  next(): Waiting[];
}

const maxBatchEvents = 512;
/** Building a longer statement would hold the event loop. */
const maxBatchBytes = 1024 * 1024;
/** What an event takes beside its data, about. */
const eventBytes = 512;
/** One organisation has half of it at most, so that its flood leaves room for the others. */
const room = { events: 5_000, bytes: 64 * 1024 * 1024 };

interface Load {
  events: number;
  bytes: number;
}

interface Place {
  readonly one: Waiting;
  readonly load: Load;
  leave(): boolean;
}

export function createLine(): Line {
  const places = new Members<Place>();
  const all: Load = { events: 0, bytes: 0 };
  const byOrg = new Map<string, Load>();

  function shareOf(orgId: string): Load {
    return byOrg.get(orgId) ?? { events: 0, bytes: 0 };
  }

  function count(orgId: string, { events, bytes }: Load, sign: 1 | -1): void {
    const share = shareOf(orgId);
    for (const load of [all, share]) {
      load.events += sign * events;
      load.bytes += sign * bytes;
    }
    if (share.events > 0) byOrg.set(orgId, share);
    else byOrg.delete(orgId);
  }

  function hasRoom(orgId: string, { events, bytes }: Load): boolean {
    const share = shareOf(orgId);
    const fits = (load: Load, part: number) =>
      load.events + events <= room.events * part && load.bytes + bytes <= room.bytes * part;
    return fits(all, 1) && fits(share, 0.5);
  }

  return {
    get isEmpty() {
      return places.size === 0;
    },
    join(one) {
      const load = loadOf(one.arrivals);
      if (!hasRoom(one.orgId, load)) return undefined;
      count(one.orgId, load, 1);
      const place: Place = { one, load, leave: () => false };
      const out = places.add(place);
      const leave = () => {
        const wasIn = out();
        if (wasIn) count(one.orgId, load, -1);
        return wasIn;
      };
      place.leave = leave;
      return leave;
    },
    next() {
      const batch: Waiting[] = [];
      let events = 0;
      let bytes = 0;
      for (let place = places.first; place !== undefined; place = places.first) {
        const { one, load } = place;
        events += load.events;
        bytes += load.bytes;
        const isFull = events > maxBatchEvents || bytes > maxBatchBytes;
        // What is written beside events must not be committed without them, nor with the failure of others.
        if (batch.length > 0 && (isFull || one.also !== undefined)) break;
        place.leave();
        batch.push(one);
        if (one.also !== undefined) break;
      }
      return batch;
    },
  };
}

function loadOf(arrivals: readonly SealedArrival[]): Load {
  const bytes = arrivals.reduce((sum, { dataBytes }) => sum + eventBytes + dataBytes, 0);
  return { events: arrivals.length, bytes };
}
