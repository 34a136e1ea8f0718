import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import { look, spend, type Budget, type Debt, type RateLimit } from "./gcra.ts";

/** Counts what each name spends. It returns promises, so that a limiter that replicas share can take its place. */
export interface RateLimiter {
  /**
   * Takes one request from the budget of the name, if there is one left. Requests that were already made elsewhere
   * are charged first, up to the whole limit.
   */
  spend(name: string, rate: RateLimit, alreadyMade?: number): Promise<Budget>;
}

/** Counts in this process. */
export interface LocalRateLimiter extends RateLimiter {
  /** What the name has left; takes nothing. */
  look(name: string, rate: RateLimit): Budget;
}

/** At most this many names are remembered, some megabytes. Beyond it, the name quiet for longest starts afresh. */
const maxNames = 65_536;

/** A limiter of this process alone: with several replicas, each allows the whole limit. */
export function createRateLimiter(now: () => Date): LocalRateLimiter {
  // By size and not by number: for a number, the memory of all is taken at once, which also makes a start slower.
  const debts = new LRUCache<string, Debt>(upTo(maxNames));
  return {
    async spend(name, rate, alreadyMade) {
      const { debt, budget } = spend(rate, debts.get(name), now().getTime(), alreadyMade);
      debts.set(name, debt);
      return budget;
    },
    look: (name, rate) => look(rate, debts.get(name), now().getTime()),
  };
}
