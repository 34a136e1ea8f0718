import type { LocalRateLimiter } from "./limiter.ts";
import type { SharedCounts } from "./shared-limiter.ts";

/** The limiters of which the workers of one machine tell each other what they spend. */
export type AnnouncedLimiter = "failures" | "publicCalls";

/** How the workers of one machine count together. */
export interface Together {
  /** Counts where all of them do, to the last call. */
  readonly openCounts: (lost: (why: Error) => void) => Promise<SharedCounts>;
  /**
   * The limiter, which hears from now on what the other workers spend, and tells them what it spends. Nothing waits
   * for that, so a flood costs no more than before; some calls that come at one moment may be let through beyond the
   * limit.
   */
  announced(kind: AnnouncedLimiter, local: LocalRateLimiter): LocalRateLimiter;
}
