import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import type { Secret } from "#src/platform/secret.ts";
import { createCallLimiter } from "./call-limiter.ts";
import { createRateLimiter, type LocalRateLimiter } from "./limiter.ts";
import type { SharedRateLimiter } from "./shared-limiter.ts";
import type { Together } from "./together.ts";

/** What the service counts, each apart from the others: a flood of one kind of names must not make it forget another. */
export interface Limiters {
  /** The calls of each key, and of what else is called by a name of its own. */
  readonly callLimiter: SharedRateLimiter;
  /** The failures of clients to present a good key. */
  readonly failureLimiter: LocalRateLimiter;
  /** The calls of each address that come without a key. */
  readonly publicLimiter: LocalRateLimiter;
}

/** Builds the limiters. */
export async function createLimiters(parts: {
  environment: Environment;
  rateLimitUrl: Secret | undefined;
  /** Undefined for a service of one process. */
  together: Together | undefined;
  log: Log;
  now: () => Date;
  meter: Meter;
}): Promise<Limiters> {
  const { together, now } = parts;
  const callLimiter = await createCallLimiter(parts);
  // No server counts these for all replicas. They are asked before anything is known of the caller, so a flood of
  // guesses would also flood that server. They guard the look-ups of this machine, and no number of replicas makes a
  // key guessable.
  const failures = createRateLimiter(now);
  const publicCalls = createRateLimiter(now);
  return {
    callLimiter,
    failureLimiter: together?.announced("failures", failures) ?? failures,
    publicLimiter: together?.announced("publicCalls", publicCalls) ?? publicCalls,
  };
}
