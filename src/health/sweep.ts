import type { ProbeConnection } from "#src/connections/probe-connection.ts";
import { eraseFallbacks } from "#src/connections/fallback-store.ts";
import type { Database } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { createTally } from "#src/platform/tally.ts";
import { createKeyedLimit } from "#src/platform/keyed-limit.ts";
import { claimDue, recordOutcomes, type DueProbe, type ProbeOutcome } from "./store.ts";

const lookEveryMs = 1_000;
const batchSize = 500;
/** Beyond this many claimed probes, no more are claimed: they wait in the table, where another replica sees them. */
const maxClaimed = 5_000;
/** The most of one organisation. Its other probes wait for its next turn, so that other organisations have theirs. */
const maxClaimedOfOne = 1_000;
const maxProbes = 128;
const maxProbesPerHost = 4;
const maxProbesPerOrganisation = 24;

const reached = { stage: undefined, message: undefined };

/**
 * Every active connection is due each 60 s (± 10 %); replicas share the work through the claim table and
 * nothing else. A slow host holds up only its own connections, and an organisation with many of them only itself.
 */
export function createHealthSweep(parts: {
  database: Database;
  probe: ProbeConnection;
  environment: Environment;
  log: Log;
  now: () => Date;
}): Loop {
  const { database, probe, environment, log, now } = parts;
  const limit = createKeyedLimit(maxProbes);
  const stopping = new AbortController();
  const claimed = new Map<string, Promise<void>>();
  const claimedOf = createTally();
  const found: ProbeOutcome[] = [];

  async function probeDue(due: DueProbe) {
    const { orgId, connectionId, baseUrl, declared } = due;
    const places = [
      { key: orgId, most: maxProbesPerOrganisation },
      // A host is the same for many organisations, and may be slow for one of them only.
      { key: `${orgId} ${new URL(baseUrl).hostname}`, most: maxProbesPerHost },
    ];
    await limit(places, async () => {
      if (stopping.signal.aborted) return;
      const answer = await probe(
        { orgId, environment },
        {
          ...{ id: connectionId, baseUrl, declared },
          evenInactive: false,
        },
      );
      const { stage, message: error } = answer.result.ok ? reached : answer.result;
      found.push({ orgId, connectionId, baseUrl: answer.baseUrl, at: now(), stage, error });
    });
  }

  /** Claims the probes that are due and starts them; returns how many they were. */
  async function claim(): Promise<number> {
    const due = await database.system((tx) => claimDue(tx, environment, now(), batchSize));
    for (const one of due) {
      // Still waiting for its slow host since the last period; another base URL need not wait for that.
      const asked = `${one.connectionId} ${one.baseUrl}`;
      if (claimed.has(asked)) continue;
      if (claimedOf.of(one.orgId) >= maxClaimedOfOne) continue;
      claimedOf.add(one.orgId, 1);
      claimed.set(
        asked,
        probeDue(one)
          .catch((error: unknown) =>
            log[levelOfFailure(error)]({ err: error, connectionId: one.connectionId }, "probe failed"),
          )
          .finally(() => {
            claimed.delete(asked);
            claimedOf.add(one.orgId, -1);
          }),
      );
    }
    return due.length;
  }

  async function record() {
    const outcomes = found.splice(0);
    if (outcomes.length === 0) return;
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

  async function claimAll() {
    while (claimed.size < maxClaimed && (await claim()) > 0);
  }

  /** Not used any more, they are only a risk. */
  async function eraseOld() {
    await database.system((tx) => eraseFallbacks(tx, now()));
  }

  async function sweep() {
    await claimAll();
    await record();
    await eraseOld();
  }

  const loop = createLoop({ name: "health sweep", everyMs: lookEveryMs, work: sweep, log });
  return {
    start: () => loop.start(),
    async runOnce() {
      await claimAll();
      await Promise.all(claimed.values());
      await record();
      await eraseOld();
    },
    async stop() {
      stopping.abort();
      await loop.stop();
      await Promise.all(claimed.values());
      await record().catch((error: unknown) => log.warn({ err: error }, "the last probes were not recorded"));
    },
  };
}
