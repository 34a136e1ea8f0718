import { createLru } from "./lru.ts";

/** What one key may still do without asking, as far as this guard can know. */
export interface Budget {
  /** Empty until Patchbay has said whose secret it is. */
  apiKeyId: string;
  /** The budget that this one became a part of, as its secret turned out to be another one of a known key. */
  owner: Budget | undefined;
  /** Requests that may be let in without asking: never more than Patchbay would let in. */
  left: number;
  /** Requests that were let in without asking, ever. */
  served: number;
  /** Those of them that Patchbay has not been told of. */
  unreported: number;
  /** What all questions charge that were ever sent. */
  sent: number;
  /** What those of them charge that are on their way no more. */
  settled: number;
}

/** A question about a key, on its way. */
export interface Asked {
  readonly secret: string;
  readonly budget: Budget;
  /** What the question reports. */
  readonly alreadyMade: number;
  readonly servedBefore: number;
  readonly settledBefore: number;
}

/** The budgets of keys, by hashes of their secrets. */
export interface Budgets {
  /** Undefined if Patchbay has not said yet whose secret it is. */
  of(secret: string): Budget | undefined;
  /** To be called right before a question is sent. */
  asking(secret: string): Asked;
  /** Takes in the answer. Without `remaining`, the budget was not looked at, and nothing was charged to it. */
  answered(asked: Asked, apiKeyId: string, remaining: number | undefined): Budget;
  /** There was no answer. What the question reported is reported again, at the risk of being charged twice. */
  failed(asked: Asked): void;
}

/** The contract takes no higher number. */
const mostReported = 100_000;
/** Beyond so many keys, who was quiet for longest is forgotten, with what was not reported of it. */
const maxKeys = 65_536;

/**
 * Keeps the rate limits of keys true while requests are let in without asking. Answers may come in another order
 * than Patchbay gave them, so each is read as if every question that was under way beside it were charged later.
 */
export function createBudgets(): Budgets {
  const bySecret = createLru<Budget>(maxKeys);
  const byKey = createLru<Budget>(maxKeys);
  /** Of secrets that are asked about for the first time; a flood of made-up ones must push nothing out. */
  const strangers = new Map<string, Budget>();

  function ownerOf({ secret, budget }: Asked, apiKeyId: string): Budget {
    if (budget.owner !== undefined) return budget.owner;
    if (budget.apiKeyId !== "" || apiKeyId === "") return budget;
    const owner = byKey.get(apiKeyId) ?? budget;
    // Another secret of the key was known before, as after a rotation.
    if (owner !== budget) handOver(budget, owner);
    owner.apiKeyId = apiKeyId;
    byKey.set(apiKeyId, owner);
    bySecret.set(secret, owner);
    strangers.delete(secret);
    return owner;
  }

  function settle(asked: Asked): void {
    const budget = asked.budget.owner ?? asked.budget;
    budget.settled += chargeOf(asked);
    if (budget.settled === budget.sent && strangers.get(asked.secret) === budget) {
      strangers.delete(asked.secret);
    }
  }

  return {
    of: (secret) => bySecret.get(secret),

    asking(secret) {
      const budget = bySecret.get(secret) ?? strangers.get(secret) ?? newBudget();
      if (budget.apiKeyId === "") strangers.set(secret, budget);
      const { served: servedBefore, settled: settledBefore } = budget;
      const alreadyMade = Math.min(budget.unreported, mostReported);
      const asked = { secret, budget, alreadyMade, servedBefore, settledBefore };
      budget.unreported -= alreadyMade;
      // The question itself is charged as well.
      budget.left -= 1;
      budget.sent += chargeOf(asked);
      return asked;
    },

    answered(asked, apiKeyId, remaining) {
      const budget = ownerOf(asked, apiKeyId);
      if (remaining === undefined) budget.unreported += asked.alreadyMade;
      else if (budget === asked.budget) {
        const besideIt = budget.sent - asked.settledBefore - chargeOf(asked);
        budget.left = remaining - besideIt - (budget.served - asked.servedBefore);
      } else {
        // What was under way beside it by the key's other secrets is not known.
        budget.left = Math.min(budget.left, remaining);
      }
      settle(asked);
      return budget;
    },

    failed(asked) {
      const budget = asked.budget.owner ?? asked.budget;
      budget.unreported += asked.alreadyMade;
      settle(asked);
    },
  };
}

/** Lets one request in without asking, if the budget allows it. */
export function takeOne(budget: Budget): boolean {
  if (budget.left <= 0) return false;
  budget.left -= 1;
  budget.served += 1;
  budget.unreported += 1;
  return true;
}

function handOver(budget: Budget, owner: Budget): void {
  budget.owner = owner;
  owner.left += budget.left;
  owner.sent += budget.sent;
  owner.settled += budget.settled;
}

/** What a question takes from the budget, at most: what it reports, and itself. */
function chargeOf({ alreadyMade }: Pick<Asked, "alreadyMade">): number {
  return alreadyMade + 1;
}

function newBudget(): Budget {
  return { apiKeyId: "", owner: undefined, left: 0, served: 0, unreported: 0, sent: 0, settled: 0 };
}
