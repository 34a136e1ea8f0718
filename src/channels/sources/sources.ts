import type { Connections } from "#src/connections/connections.ts";
import type { Database } from "#src/db/database.ts";
import { LogNotFound } from "#src/eventlog/errors.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { ByteBudget } from "#src/platform/byte-budget.ts";
import type { Environment } from "#src/platform/caller.ts";
import { levelOfFailure, ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { SourceFailure } from "./failure.ts";
import { createPlaces } from "./places.ts";
import { pollOnce } from "./poll.ts";
import { createReading } from "./reading.ts";
import type { ClaimedSource, Outcome } from "./source.ts";
import { claimSources, holdSources, LeaseLost, settleSource } from "./store.ts";
import { readStream, retryMsOf } from "./stream.ts";
import { openSourceService, SourceBlocked } from "./through-connection.ts";

/** What reading sources needs of the other parts. */
export interface SourceParts {
  readonly database: Database;
  readonly eventLog: Pick<EventLog, "accept">;
  readonly connections: Pick<Connections, "openUnattended" | "another" | "use">;
  readonly outbound: Pick<Outbound, "send" | "stream">;
  readonly environment: Environment;
  /** For what is read and not stored yet. */
  readonly budget: ByteBudget;
  readonly log: Log;
  readonly now: () => Date;
}

/** A source that is read now. */
interface Job {
  readonly source: ClaimedSource;
  readonly stopping: AbortController;
  readonly done: Promise<void>;
}

const lookEveryMs = 1_000;
const batchSize = 100;
const maxJobs = 1_000;
const waitMs = 10_000;
const maxBackOffMs = { sse: 5 * 60 * 1000, poll: 60 * 60 * 1000 };
const dayMs = 24 * 60 * 60 * 1000;

/**
 * Reads the sources of channels. Replicas share them by leases: each source is read by one of them, and by another one
 * if that dies. Whoever lost its lease can store nothing more.
 *
 * `runOnce` ends with the polls that it began, and not with streams.
 */
export function createSources(parts: SourceParts): Loop {
  const { database, environment, budget, log, now } = parts;
  const jobs = new Map<string, Job>();
  const places = createPlaces();

  async function hold(): Promise<void> {
    const leases = [...jobs.keys()];
    if (leases.length === 0) return;
    const held = await database.system((tx) => holdSources(tx, leases, now()));
    for (const lease of leases) {
      const job = jobs.get(lease);
      if (job === undefined) continue;
      // With another base URL, it is claimed and read anew; whoever changes the channel takes the lease away.
      if (held.get(lease) !== job.source.baseUrl) job.stopping.abort(new LeaseLost());
    }
  }

  async function read(source: ClaimedSource, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted();
    const holding = budget.open(() => source.orgId);
    using stack = new DisposableStack();
    stack.defer(() => holding.release());
    const service = stack.use(await openSourceService({ ...parts, holding }, source, signal));
    const reading = createReading({ ...parts, holding }, source, signal);
    return source.kind === "sse"
      ? await readStream(source, service.openStream, reading, now)
      : await pollOnce(source, service.ask, reading, now);
  }

  async function run(source: ClaimedSource, signal: AbortSignal): Promise<void> {
    await settle(
      source,
      await read(source, signal).catch((error: unknown) => outcomeOf(error, source, signal)),
    );
  }

  function settle(source: ClaimedSource, outcome: Outcome): Promise<void> {
    return database.system((tx) => settleSource(tx, source, outcome, now()));
  }

  function outcomeOf(error: unknown, source: ClaimedSource, signal: AbortSignal): Outcome {
    if (signal.aborted || error instanceof LeaseLost || error instanceof LogNotFound) return { pauseMs: 0 };
    if (error instanceof SourceBlocked) return { pauseMs: 0, failed: error.message, blocked: error.message };
    const pauseMs = backOffMs(source, error instanceof SourceFailure ? error.retryAfterMs : undefined);
    if (error instanceof SourceFailure || error instanceof ServiceError)
      return { pauseMs, failed: error.message };
    const { channelId } = source;
    log[levelOfFailure(error)]({ err: error, channelId }, "a source could not be read; it is tried again");
    return { pauseMs, failed: "it could not be read for a reason of this service's own; its log says more" };
  }

  function start(source: ClaimedSource): void {
    const { lease, channelId } = source;
    const stopping = new AbortController();
    const work = places.read(source, () => run(source, stopping.signal));
    const done = (typeof work === "string" ? settle(source, { pauseMs: waitMs, waitsFor: work }) : work)
      // Its lease ends by itself.
      .catch((error: unknown) => log.warn({ err: error, channelId }, "a source was not given back"))
      .finally(() => jobs.delete(lease));
    jobs.set(lease, { source, stopping, done });
  }

  async function claim(): Promise<void> {
    while (jobs.size < maxJobs) {
      const claimed = await database.system((tx) => claimSources(tx, environment, now(), batchSize));
      for (const source of claimed) start(source);
      if (claimed.length < batchSize) return;
    }
  }

  const loop = createLoop({
    name: "reading the sources of channels",
    everyMs: lookEveryMs,
    async work(signal) {
      await hold();
      if (!signal.aborted) await claim();
    },
    log,
  });

  return {
    start: () => loop.start(),
    async runOnce() {
      await loop.runOnce();
      const polls = [...jobs.values()].filter(({ source }) => source.kind === "poll");
      await Promise.all(polls.map(({ done }) => done));
    },
    async stop() {
      await loop.stop();
      for (const { stopping } of jobs.values()) stopping.abort(new Error("this replica ends"));
      await Promise.all([...jobs.values()].map(({ done }) => done));
    },
  };
}

function backOffMs(source: ClaimedSource, askedMs = 0): number {
  const baseMs =
    source.kind === "sse" ? retryMsOf(source.position.stream) : source.config.intervalSeconds * 1000;
  const growing = baseMs * 2 ** Math.min(source.failures, 20) * (0.9 + 0.2 * Math.random());
  return Math.min(Math.max(Math.min(growing, maxBackOffMs[source.kind]), askedMs), dayMs);
}
