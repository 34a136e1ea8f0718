import { answeredWithin } from "#src/ratelimit/answered-within.ts";
import type { Budget } from "#src/ratelimit/gcra.ts";
import type { SharedCounts } from "#src/ratelimit/shared-limiter.ts";
import { createBatch } from "./batches.ts";
import type { FromWorker, Spending } from "./messages.ts";

/** Counts calls in the primary. */
export interface CountsOfPrimary {
  /** Fails unless the primary answers; calls `lost` when it does not any more. */
  open(lost: (why: Error) => void): Promise<SharedCounts>;
  /** What the primary answered. */
  counted(id: number, budgets: readonly Budget[]): void;
}

interface Asked {
  readonly spending: Spending;
  readonly answer: PromiseWithResolvers<Budget>;
}

/** More than the primary takes to ask the server of all replicas, which it gives up after a tenth of a second. */
const answerMs = 250;

/** Asks by messages, all calls of one turn of the event loop in one. */
export function createCountsOfPrimary(tell: (message: FromWorker) => void): CountsOfPrimary {
  const waiting = new Map<number, (budgets: readonly Budget[]) => void>();
  let lastId = 0;
  let lose: ((why: Error) => void) | undefined;

  const ask = createBatch<Asked>((batch) => void askFor(batch));

  async function askFor(batch: readonly Asked[]): Promise<void> {
    const id = ++lastId;
    const { promise, resolve } = Promise.withResolvers<readonly Budget[]>();
    waiting.set(id, resolve);
    tell({ kind: "count", id, spent: batch.map(({ spending }) => spending) });
    try {
      const budgets = await answeredWithin(answerMs, promise);
      for (const [i, { answer }] of batch.entries()) {
        const budget = budgets[i];
        if (budget === undefined) answer.reject(new Error("the primary could not count it"));
        else answer.resolve(budget);
      }
    } catch (error) {
      for (const { answer } of batch) answer.reject(error);
      lose?.(error as Error);
      lose = undefined;
    } finally {
      waiting.delete(id);
    }
  }

  function spend(...[name, rate, alreadyMade]: Parameters<SharedCounts["spend"]>): Promise<Budget> {
    const answer = Promise.withResolvers<Budget>();
    ask({ spending: { name, rate, alreadyMade }, answer });
    return answer.promise;
  }

  return {
    async open(lost) {
      await spend("check", { limit: 1, windowMs: 1_000 });
      lose = lost;
      return { spend, close: () => (lose = undefined) };
    },
    counted: (id, budgets) => waiting.get(id)?.(budgets),
  };
}
