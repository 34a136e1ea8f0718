import { ServiceError, type ErrorKind } from "#src/platform/errors.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import type { Budget, RateLimit } from "#src/ratelimit/gcra.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";

/** How often keys may be used, and clients may fail to present a good one. */
export interface Limits {
  /** Takes one call from the budget of the key, if there is one left, and says what is left. */
  spend(key: LimitedKey, alreadyMade?: number): Promise<Spent>;
  /**
   * Runs an authentication, which is to ask `beforeGuess` before it looks anything up. A client of whom too many
   * failed is refused there, and after each further failure; what is known to be good gets in all the same, as
   * behind a proxy all clients may have one name.
   */
  limitFailures<T>(client: string, authenticate: (beforeGuess: BeforeGuess) => Promise<T>): Promise<T>;
}

/** Refuses a client who guessed too often. */
export type BeforeGuess = () => Promise<void>;

/** Whose budget it is. Not a secret's: a rotation must not double it. */
export interface LimitedKey {
  readonly orgId: string;
  readonly id: string;
  readonly rateLimitPerMinute: number | undefined;
}

/** A budget and the limit that it is of. */
export interface Spent {
  readonly rate: RateLimit;
  readonly budget: Budget;
}

/** What holds for keys, with a limit of their own and without one, and for each client. */
export interface LimitsPerMinute {
  readonly rateLimitPerMinute: number;
  /** However much a key was given. */
  readonly maxRateLimitPerMinute: number;
  readonly failedAuthenticationsPerMinute: number;
}

export function createLimits(parts: {
  /** Of keys. */
  calls: RateLimiter;
  /** Of clients. A flood of them must not make keys forgotten, so it is another one. */
  failures: RateLimiter;
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
          const budget = await failures.look(client, failureRate);
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

/** Whether the key was found wanting; a database that is down is not the client's failure. */
function isRefusal(thrown: unknown): boolean {
  return thrown instanceof ServiceError && refusals.has(thrown.kind);
}

function minutely(limit: number): RateLimit {
  return { limit, windowMs: 60_000 };
}
