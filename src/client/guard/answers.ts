import { LRUCache } from "lru-cache";
import { type Budget, takeOne } from "./budgets.ts";
import type { Verdict } from "./verdict.ts";

/** No answer is used for longer, whatever else holds; Patchbay itself promises no more for its own. */
export const boundMs = 5_000;

/** An answer of Patchbay, for requests that ask the same. */
export interface CachedAnswer {
  readonly verdict: Verdict;
  readonly apiKeyId: string;
  /** By the monotonic clock. */
  readonly until: number;
  /** The budget that each use is taken from; undefined if using it costs nothing. */
  readonly budget?: Budget;
}

/** When a question was asked, to tell what changed since. */
export interface Moment {
  readonly at: number;
  readonly changes: number;
}

/** A cache of answers, each until it is too old or its key changes. */
export interface Answers {
  /** Takes an answer out for one request. */
  use(question: string): Verdict | undefined;
  keep(question: string, answer: CachedAnswer, asked: Moment): void;
  moment(): Moment;
  /** Whether the key may have changed since. */
  changedSince(apiKeyId: string, asked: Moment): boolean;
  /** Whether a replica of Patchbay may still remember the key as it was: for `boundMs` after the change. */
  changedLately(apiKeyId: string): boolean;
  forget(apiKeyIds: readonly string[]): void;
  forgetAll(): void;
}

const maxAnswers = 10_000;

export function createAnswers(monotonicNow: () => number): Answers {
  const answers = new LRUCache<string, CachedAnswer>({ max: maxAnswers });
  const changed = new Map<string, Moment>();
  let changes = 0;
  let forgotten = 0;

  /** A question from before them has no answer any more, or one that is not kept. */
  function forgetOldChanges(now: number): void {
    for (const [apiKeyId, { at }] of changed) if (now - at > 2 * boundMs) changed.delete(apiKeyId);
  }

  function changedSince(apiKeyId: string, asked: Moment): boolean {
    if (monotonicNow() - asked.at > boundMs) return true;
    return (changed.get(apiKeyId)?.changes ?? 0) > asked.changes;
  }

  return {
    use(question) {
      const answer = answers.get(question);
      if (answer === undefined || monotonicNow() >= answer.until) return undefined;
      const { budget, verdict } = answer;
      if (budget === undefined) return verdict;
      return takeOne(budget)
        ? { ...verdict, headers: withRemaining(verdict.headers, budget.left) }
        : undefined;
    },
    keep(question, answer, asked) {
      if (forgotten > asked.changes || changedSince(answer.apiKeyId, asked)) return;
      answers.set(question, answer);
    },
    moment: () => ({ at: monotonicNow(), changes }),
    changedSince,
    changedLately(apiKeyId) {
      const change = changed.get(apiKeyId);
      return change !== undefined && monotonicNow() - change.at <= boundMs;
    },
    forget(apiKeyIds) {
      const now = monotonicNow();
      forgetOldChanges(now);
      changes += 1;
      for (const apiKeyId of apiKeyIds) changed.set(apiKeyId, { at: now, changes });
      const named = new Set(apiKeyIds);
      const outdated = [...answers.entries()].filter(([, { apiKeyId }]) => named.has(apiKeyId));
      for (const [question] of outdated) answers.delete(question);
    },
    forgetAll() {
      changes += 1;
      forgotten = changes;
      answers.clear();
    },
  };
}

/** The rate limit headers with what is left by now; Patchbay said what was left when it answered. */
function withRemaining(headers: Readonly<Record<string, string>>, left: number): Record<string, string> {
  const { ratelimit, ...others } = headers;
  if (ratelimit === undefined) return others;
  return { ...others, ratelimit: ratelimit.replace(/;r=\d+/, `;r=${left}`) };
}
