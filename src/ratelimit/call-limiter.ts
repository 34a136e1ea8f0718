import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Secret } from "#src/platform/secret.ts";
import { createRateLimiter } from "./limiter.ts";
import { createSharedRateLimiter, type SharedRateLimiter } from "./shared-limiter.ts";

/** Counts the calls of each key: in memory, or where the other replicas of this environment count them too. */
export async function createCallLimiter(parts: {
  environment: Environment;
  /** Undefined if each replica counts by itself. */
  rateLimitUrl: Secret | undefined;
  log: Log;
  now: () => Date;
  /** Called for each call that is limited by this replica alone although the counts are shared. */
  fellBack: () => void;
}): Promise<SharedRateLimiter> {
  const { environment, rateLimitUrl: url, log, now, fellBack } = parts;
  const local = createRateLimiter(now);
  if (url === undefined) return { ...local, close: async () => undefined };
  // Loaded only where it is needed: the client takes longer to load than all the rest of the limits.
  const { connectRedis } = await import("./redis.ts");
  // Ids of keys are random, so only a copy of this database has the same ones.
  const prefix = `patchbay:${environment}:calls:`;
  return createSharedRateLimiter({
    open: (lost) => connectRedis({ url, prefix }, lost),
    local,
    log,
    fellBack,
  });
}
