import { RateLimited } from "#src/ratelimit/errors.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import type { RateLimit } from "#src/ratelimit/gcra.ts";
import { rateLimitHeaders } from "#src/ratelimit/headers.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import type { Caller } from "#src/platform/caller.ts";
import { ServiceError, type ErrorKind } from "#src/platform/errors.ts";

/** How often callers may call, and fail to authenticate. */
export interface Limits {
  /** Takes one call from the budget of the caller's key, and says in the answer's headers what is left. */
  spendCall(caller: Caller, answer: Headers): Promise<void>;
  /** Runs an authentication, unless too many from this address failed before. Those that succeed never count. */
  limitFailures(remoteAddress: string | undefined, authenticate: () => Promise<Caller>): Promise<Caller>;
}

/** What holds for keys that have no limit of their own, and for each client address. */
export interface LimitsPerMinute {
  readonly callsPerMinute: number;
  readonly failuresPerMinute: number;
}

export function createLimits(parts: {
  /** Of keys. */
  calls: RateLimiter;
  /** Of client addresses. A flood of them must not make keys forgotten, so it is another one. */
  failures: RateLimiter;
  perMinute: LimitsPerMinute;
}): Limits {
  const { calls, failures, perMinute } = parts;
  const failureRate = minutely(perMinute.failuresPerMinute);

  return {
    async spendCall({ orgId, apiKeyId, rateLimitPerMinute }, answer) {
      const rate = minutely(rateLimitPerMinute ?? perMinute.callsPerMinute);
      // The key's id, not its secret: a rotation must not double the budget.
      const budget = await calls.spend(`${orgId}/${apiKeyId}`, rate);
      for (const [name, value] of Object.entries(rateLimitHeaders(rate, budget))) answer.set(name, value);
      if (!budget.allowed) throw new RateLimited(budget);
    },

    async limitFailures(remoteAddress, authenticate) {
      const client = clientNameOf(remoteAddress);
      const budget = await failures.look(client, failureRate);
      if (!budget.allowed) throw new RateLimited(budget);
      try {
        return await authenticate();
      } catch (thrown) {
        if (isRefusal(thrown)) await failures.spend(client, failureRate);
        throw thrown;
      }
    },
  };
}

const refusals = new Set<ErrorKind>(["unauthenticated", "permission_denied"]);

/** Whether the key was found wanting; a database that is down is not the caller's failure. */
function isRefusal(thrown: unknown): boolean {
  return thrown instanceof ServiceError && refusals.has(thrown.kind);
}

function minutely(limit: number): RateLimit {
  return { limit, windowMs: 60_000 };
}
