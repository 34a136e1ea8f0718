import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { WatchConnectionsResponseSchema } from "#gen/patchbay/connections/v1/health_pb.js";
import { toMessage } from "#src/connections/messages.ts";
import type { Database } from "#src/db/database.ts";
import { createAlarm, type Alarm } from "#src/events/alarm.ts";
import { StreamEnded } from "#src/events/errors.ts";
import { callerOf, callOf, type Call, type Caller } from "#src/platform/caller.ts";
import type { Meter } from "#src/platform/meter.ts";
import { createTally } from "#src/platform/tally.ts";
import { takenInTime } from "#src/platform/taken-in-time.ts";
import { TooManyStreams } from "#src/ratelimit/errors.ts";
import type { Heads } from "./heads.ts";
import { placeOf, positionOf, sightOf, type Place } from "./place.ts";
import { nextStep, pageAfter, type Step } from "./step.ts";

/** Streams of connections and their changes. */
export interface Watches {
  readonly watchConnections: ServiceImpl<typeof ConnectionService>["watchConnections"];
  /** Ends all streams: they would hold up a shutdown. */
  stop(): void;
}

type Message = MessageInitShape<typeof WatchConnectionsResponseSchema>;

/** Of one organisation, at this replica. */
const maxStreams = 200;
/** How often a stream that waits looks around. */
const turnMs = 1_000;
/** With one turn more, within the 5 s in which a revoked key must lose its streams. */
const recheckMs = 4_000;
const heartbeatMs = 15_000;

interface Reader {
  readonly call: Call;
  readonly caller: Caller;
  readonly from: Place | undefined;
  readonly signal: AbortSignal;
}

export function createWatches(parts: {
  database: Database;
  heads: Heads;
  meter: Meter;
  now: () => Date;
  monotonicNow: () => number;
}): Watches {
  const { database, heads, meter, now, monotonicNow } = parts;
  const open = createTally();
  const alarms = new Set<Alarm>();
  let isStopped = false;
  meter.gauge({
    name: "patchbay_connection_watches",
    help: "Streams of WatchConnections that are open.",
    read: () => alarms.size,
  });

  async function* steps({ call, caller, from, signal }: Reader, alarm: Alarm): AsyncIterable<Step> {
    const callerNow = () => call.caller ?? caller;
    let checkedAt = -Infinity;
    let sentAt = monotonicNow();
    let place = from;
    let isCurrent = false;
    let hasMoved = true;
    let most: number | undefined;
    const wake = () => {
      hasMoved = true;
      alarm.ring();
    };
    using _ = heads.watch(caller.orgId, () => place?.seq ?? 0, wake);

    while (!signal.aborted) {
      if (isStopped) throw new StreamEnded("the service stops");
      if (monotonicNow() - checkedAt >= recheckMs) {
        // Also before the stream begins. The key may have been revoked, or other connections be its own.
        await call.recheck?.();
        checkedAt = monotonicNow();
        if (place !== undefined && sightOf(callerNow()) !== place.sight) hasMoved = true;
      }
      const isDue = monotonicNow() - sentAt >= heartbeatMs;
      if (!hasMoved && !isDue) {
        await alarm.rung(turnMs);
        continue;
      }
      // Before the read: what comes during it must not be slept through.
      hasMoved = false;
      const reader = callerNow();
      const step = await database.read(reader.orgId, (tx) => nextStep(tx, reader, place, most));
      place = step.place;
      most = pageAfter(step);
      hasMoved ||= !step.current;
      if (!isNews(step, isCurrent) && !isDue) continue;
      isCurrent = step.current;
      sentAt = monotonicNow();
      yield step;
    }
    // Its deadline is over, or the caller went away: to end well would say that no more changes come.
    throw signal.reason;
  }

  async function* counted(reader: Reader): AsyncIterable<Step> {
    const { orgId } = reader.caller;
    if (open.of(orgId) >= maxStreams) {
      throw new TooManyStreams(`your organisation has ${maxStreams} streams of connections`);
    }
    const alarm = createAlarm();
    open.add(orgId, 1);
    alarms.add(alarm);
    reader.signal.addEventListener("abort", alarm.ring);
    try {
      yield* steps(reader, alarm);
    } finally {
      open.add(orgId, -1);
      alarms.delete(alarm);
      reader.signal.removeEventListener("abort", alarm.ring);
    }
  }

  function toResponse({ reset, connections, removedIds, current, place }: Step): Message {
    return {
      ...{ reset, current, removedIds: [...removedIds], position: positionOf(place) },
      connections: connections.map((connection) => toMessage(connection, now())),
    };
  }

  return {
    async *watchConnections({ position }, context) {
      const reader = { call: callOf(context), caller: callerOf(context), signal: context.signal };
      for await (const step of counted({ ...reader, from: placeOf(position) })) {
        using _ = takenInTime(reader.call, monotonicNow);
        yield toResponse(step);
      }
    },
    stop() {
      isStopped = true;
      for (const alarm of alarms) alarm.ring();
    },
  };
}

function isNews({ reset, connections, removedIds, current }: Step, wasCurrent: boolean): boolean {
  return reset || connections.length > 0 || removedIds.length > 0 || (current && !wasCurrent);
}
