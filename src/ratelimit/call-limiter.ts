import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import type { Secret } from "#src/platform/secret.ts";
import { createRateLimiter } from "./limiter.ts";
import { createSharedRateLimiter, type SharedRateLimiter } from "./shared-limiter.ts";
import type { Together } from "./together.ts";

/**
 * Counts the calls of each key: in memory, or where the other workers of this machine or the other replicas of this
 * environment count them too. Workers leave it to their primary to ask the server of all replicas, so that they still
 * count together while that is away.
 */
export async function createCallLimiter(parts: {
  environment: Environment;
  /** Undefined if each replica counts by itself. */
  rateLimitUrl: Secret | undefined;
  /** Undefined if this process is no worker. */
  together?: Together | undefined;
  log: Log;
  now: () => Date;
  meter: Meter;
}): Promise<SharedRateLimiter> {
  const { environment, rateLimitUrl: url, together, log, now, meter } = parts;
  const local = createRateLimiter(now);
  const countFallback = meter.counter({
    name: "patchbay_rate_limit_fallbacks_total",
    help: "Calls that this replica limited by itself, since the shared rate limits could not be reached.",
    labels: [],
  });
  const alone = { local, log, fellBack: () => countFallback({}) };
  if (together !== undefined) return createSharedRateLimiter({ ...alone, open: together.openCounts });
  if (url === undefined) return { ...local, close: async () => undefined };
  // Loaded only where it is needed: the client takes longer to load than all the rest of the limits.
  const { connectRedis } = await import("./redis.ts");
  // Ids of keys are random, so only a copy of this database has the same ones.
  const prefix = `patchbay:${environment}:calls:`;
  return createSharedRateLimiter({ ...alone, open: (lost) => connectRedis({ url, prefix }, lost) });
}
