import { setTimeout as sleep } from "node:timers/promises";
import { append } from "#src/audit/append.ts";
import { unchanged, type Database } from "#src/db/database.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { settleTurns, type Settlement } from "./dispatch-store.ts";
import { appendOwnEvent } from "./own-events.ts";
import type { Turn } from "./turn.ts";

/** Records what turns did; resolves when that is committed. */
export type Settle = (turn: Turn) => Promise<void>;

interface Waiting {
  readonly settlement: Settlement;
  readonly settled: () => void;
  readonly failed: (error: unknown) => void;
}

/** So long a turn waits for others to be recorded with: nobody waits for it but the endpoint's next turn. */
const gatherMs = 10;

/**
 * Turns that end while others are recorded are recorded together, in one statement. One that others are to be told of,
 * because its endpoint fails for long or is paused, has a transaction with its event.
 */
export function createSettling(parts: { database: Database; log: Log; now: () => Date }): Settle {
  const { database, log, now } = parts;
  let waiting: Waiting[] = [];
  let isGoing = false;

  async function goOn(): Promise<void> {
    isGoing = true;
    while (waiting.length > 0) {
      await sleep(gatherMs);
      const batch = waiting;
      waiting = [];
      try {
        const settlements = batch.map(({ settlement }) => settlement);
        await untilBack(() => database.system((tx) => settleTurns(tx, now(), settlements)));
        for (const { settled } of batch) settled();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    isGoing = false;
  }

  async function settleAlone({ settlement, notice }: Turn): Promise<void> {
    const { orgId, id, url, failures, failingSince, stateReason: reason } = settlement;
    const data = { failures, failingSince, ...(reason !== null && { reason }) };
    const endpoint = { id, url, updatedAt: now() };
    if (notice === "failing") {
      await database.record(orgId, async (tx) => {
        if (!(await settleTurns(tx, now(), [settlement])).has(id)) return;
        await appendOwnEvent(tx, endpoint, { type: "webhook.failing", data });
      });
    } else {
      await database.change(orgId, async (tx) => {
        if (!(await settleTurns(tx, now(), [settlement])).has(id)) return unchanged(undefined);
        await append(tx, "service", { action: "webhook.pause", target: id, details: { url, ...data } });
        await appendOwnEvent(tx, endpoint, { type: "webhook.paused", data });
        return undefined;
      });
    }
    log.info({ orgId, endpointId: id, reason, notice }, "a webhook endpoint fails");
  }

  return async (turn) => {
    if (turn.notice !== undefined) return untilBack(() => settleAlone(turn));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    waiting.push({ settlement: turn.settlement, settled: resolve, failed: reject });
    if (!isGoing) void goOn();
    await promise;
  };
}

/** The database is waited for as long as this: what was sent and is not recorded is sent again. */
const retries = { pauseMs: 250, most: 20 };

/** Tries again while the database is away. What was recorded after all is not recorded twice: that ended the lease. */
async function untilBack<T>(record: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await record();
    } catch (error) {
      if (!(error instanceof ServiceError) || tries > retries.most) throw error;
      await sleep(retries.pauseMs);
    }
  }
}
