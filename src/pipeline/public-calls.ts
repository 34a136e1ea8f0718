import { createTally } from "#src/platform/tally.ts";
import { RateLimited, TooManyStreams } from "#src/ratelimit/errors.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import type { RateLimit } from "#src/ratelimit/gcra.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";

/** Bounds what may be asked for without a key, for each client address. */
export interface PublicCalls {
  /** Takes one call from the budget of the address; throws if nothing is left. */
  spend(address: string | undefined): Promise<void>;
  /** Counts a stream until its signal aborts; throws if the address has as many open as it may. */
  openStream(address: string | undefined, signal: AbortSignal): void;
}

// More than any tool asks for, and than several do behind one proxy; a fraction of a processor.
const rate: RateLimit = { limit: 600, windowMs: 60_000 };
/** Each takes some ten kilobytes. */
const maxStreams = 64;

export function createPublicCalls(limiter: RateLimiter): PublicCalls {
  const streams = createTally();

  return {
    async spend(address) {
      const budget = await limiter.spend(clientNameOf(address), rate);
      if (!budget.allowed) throw new RateLimited(budget);
    },
    openStream(address, signal) {
      if (signal.aborted) return;
      const client = clientNameOf(address);
      if (streams.of(client) >= maxStreams)
        throw new TooManyStreams(`your address has ${maxStreams} streams open without a key`);
      streams.add(client, 1);
      signal.addEventListener("abort", () => streams.add(client, -1), { once: true });
    },
  };
}
