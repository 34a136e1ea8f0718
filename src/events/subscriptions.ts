import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { Call, Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { createTally } from "#src/platform/tally.ts";
import { patienceMs } from "#src/platform/taken-in-time.ts";
import { TooManyStreams } from "#src/ratelimit/errors.ts";
import { createAlarm, type Alarm } from "./alarm.ts";
import { StreamEnded } from "./errors.ts";
import { createFeed } from "./feed.ts";
import type { ReadableLogs } from "./readable-logs.ts";
import { positionOf, type Start } from "./start.ts";

/** What a stream reports at once: events, and how far each log was read. */
export interface Report {
  readonly events: readonly LoggedEvent[];
  readonly positions: ReadonlyMap<string, number>;
}

/** Whoever reads a stream. */
export interface Reader {
  /** Its call has the caller as its key was when it was last looked at. */
  readonly call: Call;
  readonly caller: Caller;
  readonly starts: readonly Start[];
  /** Patterns of types; all if empty. */
  readonly types: readonly string[];
  readonly signal: AbortSignal;
}

/** Streams of events. */
export interface Subscriptions {
  /**
   * Reports the events as they are stored. The first report says where it begins. It ends only by a failure: that of
   * the reader's signal, whose deadline may be over, or why the reader may not read on.
   */
  open(reader: Reader): AsyncIterable<Report>;
  /** Ends all streams: they would hold up a shutdown. */
  stop(): void;
}

/** Logs that the streams of one organisation read, counted for each stream: a batch of each may be held in memory. */
const maxRead = 1_000;
/** How often a stream that waits looks around. */
const turnMs = 1_000;
/** With one turn more, within the 5 s in which a revoked key must lose its streams. */
const recheckMs = 4_000;
const heartbeatMs = 15_000;

export function createSubscriptions(parts: {
  eventLog: Pick<EventLog, "bounds" | "read" | "tail">;
  readable: ReadableLogs;
  monotonicNow: () => number;
}): Subscriptions {
  const { eventLog, readable, monotonicNow } = parts;
  const open = createTally();
  const alarms = new Set<Alarm>();
  let isStopped = false;

  async function* reports(reader: Reader, alarm: Alarm): AsyncIterable<Report> {
    const { call, caller, starts, types, signal } = reader;
    const { orgId } = caller;
    const logs = starts.map(({ log }) => log);
    const callerNow = () => call.caller ?? caller;
    let checkedAt = -Infinity;
    let reportedAt = monotonicNow();

    /** The key may have been revoked or narrowed, also before the stream began. */
    async function recheck(): Promise<void> {
      if (isStopped) throw new StreamEnded("the service stops");
      if (monotonicNow() - checkedAt < recheckMs) return;
      await call.recheck?.();
      await readable.requireStill(callerNow(), { logs, types });
      checkedAt = monotonicNow();
    }

    /** Resumes when the reader took the report. */
    async function* report(events: readonly LoggedEvent[]): AsyncIterable<Report> {
      reportedAt = monotonicNow();
      yield { events, positions: new Map(positions) };
      if (monotonicNow() - reportedAt > patienceMs)
        throw new StreamEnded("the stream was not read for too long");
    }

    await recheck();
    await readable.require(callerNow(), { logs, types });
    const positions = new Map<string, number>();
    for (const start of starts) positions.set(start.log, await positionOf(eventLog, orgId, start));
    yield* report([]);

    const ending = new AbortController();
    using _ = { [Symbol.dispose]: () => ending.abort() };
    const feed = createFeed({ ...eventLog, orgId, positions, signal: ending.signal, arrived: alarm.ring });
    while (!signal.aborted) {
      await recheck();
      const batch = feed.next();
      if (batch !== undefined) {
        const events = await readable.select(callerNow(), types, batch.events);
        positions.set(batch.log, batch.end);
        if (events.length > 0) yield* report(events);
      } else if (monotonicNow() - reportedAt >= heartbeatMs) yield* report([]);
      else await alarm.rung(turnMs);
    }
    // Its deadline is over, or the reader went away: to end well would say that no more events come.
    throw signal.reason;
  }

  async function* counted(reader: Reader): AsyncIterable<Report> {
    const { orgId } = reader.caller;
    const count = reader.starts.length;
    if (open.of(orgId) + count > maxRead) {
      throw new TooManyStreams(
        `your organisation's streams of events read ${open.of(orgId)} logs, and ${maxRead} is the most`,
      );
    }
    const alarm = createAlarm();
    open.add(orgId, count);
    alarms.add(alarm);
    reader.signal.addEventListener("abort", alarm.ring);
    try {
      yield* reports(reader, alarm);
    } finally {
      open.add(orgId, -count);
      alarms.delete(alarm);
      reader.signal.removeEventListener("abort", alarm.ring);
    }
  }

  return {
    open(reader) {
      const logs = reader.starts.map(({ log }) => log);
      const twice = logs.find((log, index) => logs.indexOf(log) !== index);
      if (twice !== undefined) throw new InvalidRequest(`logs: ${twice} is named twice; name it once`);
      return counted(reader);
    },
    stop() {
      isStopped = true;
      for (const alarm of alarms) alarm.ring();
    },
  };
}
