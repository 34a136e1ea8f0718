import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Event } from "#gen/patchbay/events/v1/event_pb.js";
import type { EventService, LogStartSchema } from "#gen/patchbay/events/v1/event_service_pb.js";
import { patchbay } from "./reason.ts";
import { reconnecting } from "./reconnecting.ts";
import { wholeEvent } from "./whole-event.ts";

/** The number of the last event of each log that was handled. */
export type Positions = Readonly<Record<string, bigint | number>>;

/** Which events to follow. */
export interface FollowOptions {
  /** Ids of channels, `service`, `audit`. */
  readonly logs: readonly string[];
  /**
   * Where to begin: with what comes from now on, which is the default; with the first event that is kept; with the first
   * that was stored at a time or later; or behind the last event of each log that was handled before. A log without a
   * position there is followed from its first event.
   */
  readonly from?: "latest" | "earliest" | Date | Positions;
  /** Patterns of types, such as `connection.*` or `channel:chn_…/order.*`; all if absent. */
  readonly types?: readonly string[];
  /** Ends it, without an error, when it aborts. */
  readonly signal?: AbortSignal;
}

/** Follows logs of events. */
export interface EventFollower {
  /**
   * The events in the order of each log, as they are stored. It reconnects by itself and goes on behind the last event
   * that was handled: nothing is missed, and nothing comes twice. Throws EventsExpired, and what Patchbay refuses.
   */
  follow(options: FollowOptions): AsyncGenerator<Event, void, undefined>;
}

/** Events behind the position are no longer kept, so some were missed. Go on from `earliest`. */
export class EventsExpired extends Error {
  override readonly name = "EventsExpired";
  readonly log: string;
  /** The number of the first event that is kept. */
  readonly earliest: bigint;

  constructor(message: string, log: string, earliest: bigint) {
    super(message);
    this.log = log;
    this.earliest = earliest;
  }
}

type Start = MessageInitShape<typeof LogStartSchema>;

export function createFollow(client: Client<typeof EventService>): EventFollower["follow"] {
  return async function* follow({ logs, from = "latest", types = [], signal }) {
    let starts = logs.map((log) => startOf(log, from));
    try {
      yield* reconnecting(signal, {
        open: (attempt) => client.subscribe({ logs: starts, types: [...types] }, { signal: attempt }),
        async *handle({ events, positions }, attempt) {
          for (const event of events) {
            yield await wholeEvent(event, (named) => client.getEvent(named, { signal: attempt }));
            starts = starts.map((start) => (start.log === event.log ? behind(event.log, event.seq) : start));
          }
          starts = positions.map(({ log, seq }) => behind(log, seq));
        },
      });
    } catch (thrown) {
      throw expiredOf(thrown) ?? thrown;
    }
  };
}

function startOf(log: string, from: NonNullable<FollowOptions["from"]>): Start {
  if (from === "latest") return { log };
  if (from instanceof Date) return { log, from: { case: "since", value: timestampFromDate(from) } };
  const after = from === "earliest" ? undefined : from[log];
  return after === undefined ? { log, from: { case: "earliest", value: true } } : behind(log, BigInt(after));
}

function behind(log: string, seq: bigint): Start {
  return { log, from: { case: "after", value: seq } };
}

function expiredOf(error: unknown): EventsExpired | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const info = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === patchbay);
  if (info?.reason !== "CURSOR_EXPIRED") return undefined;
  const { log = "", earliest = "0" } = info.metadata;
  return new EventsExpired(error.rawMessage, log, BigInt(earliest));
}
