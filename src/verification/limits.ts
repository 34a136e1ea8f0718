import { ServiceError, type ErrorKind } from "#src/platform/errors.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import type { Budget, RateLimit } from "#src/ratelimit/gcra.ts";
import type { LocalRateLimiter, RateLimiter } from "#src/ratelimit/limiter.ts";

/** How often keys may be used, and clients may fail to present a good one. */
export interface Limits {
  /** Takes one call from the budget of the key, if there is one left, and says what is left. */
  spend(key: LimitedKey, alreadyMade?: number): Promise<Spent>;
  /**
   * Runs an authentication, which must call `beforeGuess` before it looks anything up. A client with too many
   * failures is refused there, and after each further failure; a key that is known to be good is let in all the
   * same, since all clients behind a proxy may share one name.
   */
  limitFailures<T>(client: string, authenticate: (beforeGuess: BeforeGuess) => T | Promise<T>): Promise<T>;
}

/** Refuses a client that guessed too often. */
export type BeforeGuess = () => Promise<void>;

/** The key whose budget it is. A secret has no budget of its own: a rotation must not double it. */
export interface LimitedKey {
  readonly orgId: string;
  readonly id: string;
  readonly rateLimitPerMinute: number | undefined;
}

/** What is left of a budget, and the limit that the budget is for. */
export interface Spent {
  readonly rate: RateLimit;
  readonly budget: Budget;
}

/** The limits of keys, with a limit of their own and without one, and of each client. */
export interface LimitsPerMinute {
  readonly rateLimitPerMinute: number;
  /** Holds whatever limit a key was given. */
  readonly maxRateLimitPerMinute: number;
  readonly failedAuthenticationsPerMinute: number;
}

export function createLimits(parts: {
  /** Counts the calls of keys. */
  calls: RateLimiter;
  /** Counts the failures of clients. Apart from `calls`: a flood of clients must not make it forget keys. */
  failures: LocalRateLimiter;
  perMinute: LimitsPerMinute;
}): Limits {
  const { calls, failures, perMinute } = parts;
  const failureRate = minutely(perMinute.failedAuthenticationsPerMinute);

  return {
    async spend({ orgId, id, rateLimitPerMinute }, alreadyMade) {
      const asked = rateLimitPerMinute ?? perMinute.rateLimitPerMinute;
      const rate = minutely(Math.min(asked, perMinute.maxRateLimitPerMinute));
      return { rate, budget: await calls.spend(`${orgId}/${id}`, rate, alreadyMade) };
    },

    async limitFailures(client, authenticate) {
      try {
        return await authenticate(async () => {
          const budget = failures.look(client, failureRate);
          if (!budget.allowed) throw new RateLimited(budget);
        });
      } catch (thrown) {
        if (!isRefusal(thrown)) throw thrown;
        const budget = await failures.spend(client, failureRate);
        throw budget.allowed ? thrown : new RateLimited(budget);
      }
    },
  };
}

const refusals = new Set<ErrorKind>(["unauthenticated", "permission_denied"]);

/** Whether the key was refused; a database that is down is not the client's failure. */
function isRefusal(thrown: unknown): boolean {
  return thrown instanceof ServiceError && refusals.has(thrown.kind);
}

function minutely(limit: number): RateLimit {
  return { limit, windowMs: 60_000 };
}
