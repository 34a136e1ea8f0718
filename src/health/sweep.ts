import { setTimeout as sleep } from "node:timers/promises";
import type { ProbeConnection } from "#src/connections/probe-connection.ts";
import { eraseFallbacks } from "#src/connections/fallback-store.ts";
import type { Database } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import type { Meter } from "#src/platform/meter.ts";
import { createTally } from "#src/platform/tally.ts";
import { createKeyedLimit } from "#src/platform/keyed-limit.ts";
import { outcomeOf } from "./outcome.ts";
import { createSweepMetrics } from "./sweep-metrics.ts";
import { transitionsMs } from "./kept.ts";
import { claimDue, keepHealth, recordOutcomes, type DueProbe, type ProbeOutcome } from "./store.ts";

const lookEveryMs = 1_000;
const batchSize = 500;
/** While there is little room, this many probes end before more are claimed. */
const worthClaiming = 100;
const maxProbes = 128;
const maxProbesPerHost = 4;
const maxProbesPerOrganisation = 24;
/**
 * A claim is good for the shortest period, 54 s. A probe that has not begun by then less its time-out is left out:
 * another replica may have claimed it by the time that it ends.
 */
const claimGoodMs = 45_000;
/** What can begin in that time although every probe takes its time-out. The rest waits in the table, where another replica sees it. */
const maxClaimed = 9 * maxProbes;
const maxClaimedOfOne = 9 * maxProbesPerOrganisation;

const upkeepEveryMs = 60_000;
/** How long a position of a stream of changes is good. */
const farewellsMs = 7 * 24 * 60 * 60 * 1_000;

/** A probe that this replica has claimed and not ended. */
interface Claim {
  readonly due: DueProbe;
  readonly ended: Promise<void>;
}

/**
 * Every active connection is due each 60 s (± 10 %); replicas share the work through the claim table and
 * nothing else. A slow host holds up only its own connections, and an organisation with many of them only itself.
 */
export function createHealthSweep(parts: {
  database: Database;
  probe: ProbeConnection;
  environment: Environment;
  log: Log;
  meter: Meter;
  now: () => Date;
  monotonicNow: () => number;
}): Loop {
  const { database, probe, environment, log, now, monotonicNow } = parts;
  const limit = createKeyedLimit(maxProbes);
  const stopping = new AbortController();
  const claimed = new Map<string, Claim>();
  const claimedOf = createTally();
  const found: ProbeOutcome[] = [];
  let progress = Promise.withResolvers<void>();
  let endedSinceClaim = 0;
  let keptAt = -Infinity;
  const count = createSweepMetrics({
    ...parts,
    oldestDue: () => claimed.values().next().value?.due.dueAt,
    waiting: () => claimed.size,
  });

  async function probeDue({ orgId, connectionId, baseUrl, declared }: DueProbe, claimedAtMs: number) {
    const places = {
      share: { key: orgId, most: maxProbesPerOrganisation },
      // A host is the same for many organisations, and may be slow for one of them only.
      target: { key: new URL(baseUrl).hostname, most: maxProbesPerHost },
    };
    await limit(places, async () => {
      if (stopping.signal.aborted) return;
      if (monotonicNow() - claimedAtMs > claimGoodMs) return count.probed("late");
      const probed = { id: connectionId, baseUrl, declared, evenInactive: false };
      const answer = await probe({ orgId, environment }, probed);
      const outcome = outcomeOf(answer.result);
      count.probed(outcome.stage ?? "healthy");
      found.push({ orgId, connectionId, baseUrl: answer.baseUrl, at: now(), ...outcome });
    });
  }

  function begin(due: DueProbe, claimedAtMs: number): void {
    const { orgId, connectionId, baseUrl } = due;
    // Still waiting for its slow host since the last period; another base URL need not wait for that.
    const asked = `${connectionId} ${baseUrl}`;
    if (claimed.has(asked)) return;
    claimedOf.add(orgId, 1);
    const ended = probeDue(due, claimedAtMs)
      .catch((error: unknown) => {
        count.probed("error");
        log[levelOfFailure(error)]({ err: error, connectionId }, "probe failed");
      })
      .finally(() => {
        claimed.delete(asked);
        claimedOf.add(orgId, -1);
        endedSinceClaim++;
        if (endedSinceClaim >= worthClaiming || claimed.size === 0) progress.resolve();
      });
    claimed.set(asked, { due, ended });
  }

  /** The organisations of which no more are claimed for now. */
  function fullOnes(): string[] {
    return [...claimedOf.entries()].flatMap(([orgId, sum]) => (sum >= maxClaimedOfOne / 2 ? [orgId] : []));
  }

  /** Claims probes that are due and starts them. Answers whether more may be due. */
  async function claim(): Promise<boolean> {
    const most = Math.min(batchSize, maxClaimed - claimed.size);
    if (most <= 0) return true;
    const full = fullOnes();
    const limits = { most, mostOfOne: maxClaimedOfOne / 2, full };
    const claimedAtMs = monotonicNow();
    endedSinceClaim = 0;
    progress = Promise.withResolvers();
    const due = await database.system((tx) => claimDue(tx, environment, now(), limits));
    count.looked();
    for (const one of due) begin(one, claimedAtMs);
    return due.length > 0 || full.length > 0;
  }

  async function record() {
    while (found.length > 0) await recordSome();
  }

  async function recordSome() {
    const outcomes = found.splice(0, batchSize);
    try {
      for (const change of await database.system((tx) => recordOutcomes(tx, outcomes))) {
        log.info(
          change,
          change.error === null ? "connection is healthy again" : "connection fails its probe",
        );
      }
    } catch (error) {
      found.push(...outcomes);
      throw error;
    }
  }

  /** Not used any more, it is only a burden, and old credentials are a risk. */
  async function eraseOld() {
    const at = now();
    const before = (milliseconds: number) => new Date(at.getTime() - milliseconds);
    await database.system(async (tx) => {
      await eraseFallbacks(tx, at);
      await keepHealth(tx, at, {
        transitionsBefore: before(transitionsMs),
        farewellsBefore: before(farewellsMs),
      });
    });
    keptAt = monotonicNow();
  }

  /** Until there is room for some more, or for as long as between two looks. */
  async function someProgress(signal: AbortSignal) {
    await Promise.race([progress.promise, sleep(lookEveryMs, undefined, { signal }).catch(() => {})]);
  }

  async function sweep(signal: AbortSignal) {
    // What cannot be recorded is not probed either: outcomes would gather here without bound.
    await record();
    while (!signal.aborted && (await claim())) {
      await record();
      if (mustWait()) await someProgress(signal);
    }
    await record();
    if (monotonicNow() - keptAt >= upkeepEveryMs) await eraseOld();
  }

  /** Whether nothing, or little, can be claimed before a probe has ended. */
  function mustWait(): boolean {
    return claimed.size > maxClaimed - batchSize || fullOnes().length > 0;
  }

  const underWay = () => [...claimed.values()].map(({ ended }) => ended);

  const loop = createLoop({ name: "health sweep", everyMs: lookEveryMs, work: sweep, log });
  return {
    start() {
      count.looked();
      loop.start();
    },
    async runOnce() {
      await record();
      while (await claim()) {
        await record();
        if (mustWait()) await Promise.race(underWay());
      }
      await Promise.all(underWay());
      await record();
      await eraseOld();
    },
    async stop() {
      stopping.abort();
      await loop.stop();
      await Promise.all(underWay());
      await record().catch((error: unknown) => log.warn({ err: error }, "the last probes were not recorded"));
    },
  };
}
