/** How often something may be done: `limit` times at once, and from then on evenly, `limit` times in each window. */
export interface RateLimit {
  readonly limit: number;
  readonly windowMs: number;
}

/**
 * What was spent and is not yet forgiven, counted at one instant. A request costs as many units as the window has
 * milliseconds, and each millisecond forgives as many as the limit is: so all numbers are whole, and the debt
 * means the same under a limit that is changed meanwhile. Fractions would add up until they refuse a legal call.
 */
export interface Debt {
  readonly at: number;
  readonly units: number;
}

/** What is left, after a request or before one. */
export interface Budget {
  /** Whether the request was allowed; for a look, whether one would be. */
  readonly allowed: boolean;
  /** Requests that would be allowed right now. */
  readonly remaining: number;
  /** Until the whole limit is available again. */
  readonly resetMs: number;
  /** Until one more request is allowed; 0 when one is. */
  readonly retryAfterMs: number;
}

/**
 * Takes one request, if there is one left, by the generic cell rate algorithm (ITU-T I.371). Unlike windows, it has
 * no edge at which twice the limit passes at once, and it never refuses a name within its limit in every window.
 *
 * Requests that were already made elsewhere are charged first. They cannot be refused any more, so up to one window
 * beyond the limit may be owed: if it were forgiven, several guards would exceed the limit again and again. Not more,
 * or one wrong report would shut out its name for long.
 */
export function spend(
  rate: RateLimit,
  debt: Debt | undefined,
  now: number,
  alreadyMade = 0,
): { readonly debt: Debt; readonly budget: Budget } {
  const before = charged(rate, unitsAt(rate, debt, now), alreadyMade);
  const after = before + rate.windowMs;
  const allowed = after <= capacityOf(rate);
  const units = allowed ? after : before;
  return { debt: { at: now, units }, budget: budgetOf(rate, units, allowed) };
}

/** What is left; takes nothing. */
export function look(rate: RateLimit, debt: Debt | undefined, now: number): Budget {
  const units = unitsAt(rate, debt, now);
  return budgetOf(rate, units, units + rate.windowMs <= capacityOf(rate));
}

function unitsAt({ limit }: RateLimit, debt: Debt | undefined, now: number): number {
  if (debt === undefined) return 0;
  // A clock that was set back forgives nothing, and keeps no client waiting until it has caught up.
  return Math.max(0, debt.units - Math.max(0, now - debt.at) * limit);
}

/** Up to twice the capacity, and never less than before: a debt from under a higher limit may be more. */
function charged(rate: RateLimit, units: number, alreadyMade: number): number {
  const more = Math.min(alreadyMade, rate.limit) * rate.windowMs;
  return Math.max(units, Math.min(units + more, 2 * capacityOf(rate)));
}

function capacityOf({ limit, windowMs }: RateLimit): number {
  return limit * windowMs;
}

/** What is left of a rate when this many units are owed. */
export function budgetOf(rate: RateLimit, units: number, allowed: boolean): Budget {
  const { limit, windowMs } = rate;
  const left = capacityOf(rate) - units;
  return {
    allowed,
    remaining: Math.max(0, Math.floor(left / windowMs)),
    resetMs: units / limit,
    retryAfterMs: Math.max(0, windowMs - left) / limit,
  };
}
