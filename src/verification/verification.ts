import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import type { Describe } from "#src/operations/operations.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import type { UsageLog } from "#src/platform/usage-log.ts";
import type { LocalRateLimiter, RateLimiter } from "#src/ratelimit/limiter.ts";
import { createAuthenticate, type Authenticate } from "./authenticate.ts";
import { createKeyLookup, type KeyLookup } from "./key-lookup.ts";
import { createKeyUse } from "./key-use.ts";
import { createLimits, type Limits, type LimitsPerMinute } from "./limits.ts";
import { createMisuseEvents, type MisuseEvents } from "./misuse-events.ts";
import { createRevocations } from "./revocations.ts";
import { createVerificationService } from "./service.ts";
import { countLookups, countVerdicts } from "./counts.ts";
import { createVerifyKey } from "./verify-key.ts";

/** Judges presented keys, for this service's own gate and for other services. */
export interface Verification extends Feature {
  readonly authenticate: Authenticate;
  readonly keys: KeyLookup;
  readonly rateLimits: Limits;
  readonly misuse: MisuseEvents;
  /** Ends the streams that would hold up a shutdown. */
  stopStreams(): void;
}

export async function createVerification(
  shared: LimitsPerMinute & {
    database: Database;
    pepper: Pepper;
    environment: Environment;
    describe: Describe;
    legacyPrefixes: readonly string[];
    /** Counts the calls of each key. */
    callLimiter: RateLimiter;
    /** Counts the failures of each client. */
    failureLimiter: LocalRateLimiter;
    /** Uses of secrets, by their hashes: that shows which callers still present an old one. */
    usage: UsageLog;
    meter: Meter;
    log: Log;
    now: () => Date;
    monotonicNow: () => number;
  },
): Promise<Verification> {
  const { database, environment, describe, callLimiter, failureLimiter, meter, log, now } = shared;
  const keys = await createKeyLookup(shared);
  countLookups(meter, keys);
  const misuse = createMisuseEvents({ database, log, now });
  const rateLimits = createLimits({
    calls: callLimiter,
    failures: failureLimiter,
    perMinute: shared,
  });
  const use = createKeyUse(shared);
  const revocations = createRevocations({ database, now });
  const verify = countVerdicts(meter, createVerifyKey({ keys, limits: rateLimits, misuse, use, now }));
  return {
    services: [
      serve(VerificationService, createVerificationService({ verify, revocations, describe, environment })),
    ],
    authenticate: createAuthenticate({ keys, misuse, environment, use, now }),
    keys,
    rateLimits,
    misuse,
    stopStreams: () => revocations.stop(),
    close: () => misuse.close(),
  };
}
