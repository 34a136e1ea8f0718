import { LRUCache } from "lru-cache";

/** What one key may still do without asking, as far as this guard can know. */
export interface Budget {
  /** Empty until Patchbay has said whose secret it is. */
  apiKeyId: string;
  /** The budget that this one became a part of, when its secret turned out to be another one of a known key. */
  owner: Budget | undefined;
  /** Requests that may be admitted without asking: never more than Patchbay would admit. */
  left: number;
  /** Everything that ever took from the limit: each request that was admitted without asking, and each question. */
  spent: number;
  /** What of it Patchbay has charged, or never will. The rest may be missing in what it says is left. */
  settled: number;
  /** Requests that were admitted without asking, and that no question has reported yet. */
  unreported: number;
  /** Questions on their way. */
  asking: number;
}

/** What a question on its way takes from the limit: itself, and the requests that it reports. */
export interface Charge {
  readonly secret: string;
  readonly budget: Budget;
  readonly alreadyMade: number;
  readonly settledBefore: number;
}

/** The budgets of keys, by hashes of their secrets. */
export interface Budgets {
  /** Undefined if Patchbay has not said yet whose secret it is. */
  of(secret: string): Budget | undefined;
  /** To be called right before a question is sent. */
  asking(secret: string): Charge;
  /** Takes in the answer. Without `remaining`, the budget was not looked at, and nothing was charged to it. */
  answered(charge: Charge, apiKeyId: string, remaining: number | undefined): Budget;
  /** There was no answer. What the question reported is reported again, at the risk of being charged twice. */
  failed(charge: Charge): void;
}

/** The contract takes no higher number. */
const maxReported = 100_000;
/**
 * Beyond this many keys, the one that was quiet for longest is forgotten, with what was not reported of it. More than
 * the cache of answers holds, so that no key is forgotten whose answers are in use.
 */
const maxKeys = 16_384;

/**
 * Keeps the rate limits of keys true while requests are admitted without asking. Answers may arrive in another order
 * than Patchbay gave them, so each is read as if all that was not settled when its question was sent came after it.
 */
export function createBudgets(): Budgets {
  const bySecret = new LRUCache<string, Budget>({ max: maxKeys });
  const byKey = new LRUCache<string, Budget>({ max: maxKeys });
  /** Of secrets that are asked about for the first time; a flood of made-up ones must not push out the known ones. */
  const strangers = new Map<string, Budget>();

  /** The budget that the key's secrets share, once an answer says whose secret it is. */
  function ownerOf({ secret, budget }: Charge, apiKeyId: string): Budget {
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

  function settle(budget: Budget, { secret }: Charge, amount: number): void {
    budget.settled += amount;
    budget.asking -= 1;
    if (budget.asking === 0 && strangers.get(secret) === budget) strangers.delete(secret);
  }

  /** The question was not charged, and what it reported is still to be reported. */
  function takeBack(budget: Budget, charge: Charge): void {
    budget.unreported += charge.alreadyMade;
    settle(budget, charge, 1);
  }

  return {
    of: (secret) => bySecret.get(secret),

    asking(secret) {
      const budget = bySecret.get(secret) ?? strangers.get(secret) ?? newBudget();
      if (budget.apiKeyId === "") strangers.set(secret, budget);
      const alreadyMade = Math.min(budget.unreported, maxReported);
      budget.unreported -= alreadyMade;
      // The question itself is charged as well.
      budget.left -= 1;
      budget.spent += 1;
      budget.asking += 1;
      return { secret, budget, alreadyMade, settledBefore: budget.settled };
    },

    answered(charge, apiKeyId, remaining) {
      const budget = ownerOf(charge, apiKeyId);
      if (remaining === undefined) {
        takeBack(budget, charge);
        return budget;
      }
      const amount = charge.alreadyMade + 1;
      budget.left =
        budget === charge.budget
          ? remaining - (budget.spent - charge.settledBefore - amount)
          : // What the key's other secrets had not settled when the question was sent is not known.
            Math.min(budget.left, remaining);
      settle(budget, charge, amount);
      return budget;
    },

    failed(charge) {
      takeBack(charge.budget.owner ?? charge.budget, charge);
    },
  };
}

/** Admits one request without asking, if the budget allows it. */
export function takeOne(budget: Budget): boolean {
  if (budget.left <= 0) return false;
  budget.left -= 1;
  budget.spent += 1;
  budget.unreported += 1;
  return true;
}

function handOver(budget: Budget, owner: Budget): void {
  budget.owner = owner;
  owner.left += budget.left;
  owner.spent += budget.spent;
  owner.settled += budget.settled;
  owner.unreported += budget.unreported;
  owner.asking += budget.asking;
}

function newBudget(): Budget {
  return { apiKeyId: "", owner: undefined, left: 0, spent: 0, settled: 0, unreported: 0, asking: 0 };
}
