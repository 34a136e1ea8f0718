import { type Budget, takeOne } from "./budgets.ts";
import { createLru } from "./lru.ts";
import type { Verdict } from "./verdict.ts";

/** No answer is used for longer, whatever else holds; Patchbay itself promises no more of its own. */
export const boundMs = 5_000;

/** An answer of Patchbay, for requests that ask the same. */
export interface Kept {
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

/** Answers, until they are too old or the key that they are about changes. */
export interface Answers {
  /** Takes an answer out for one request. */
  use(question: string): Verdict | undefined;
  keep(question: string, kept: Kept, asked: Moment): void;
  moment(): Moment;
  /** Whether the key may have changed since. */
  changedSince(apiKeyId: string, asked: Moment): boolean;
  /** Whether some replica of Patchbay may still remember the key as it was: unless told otherwise, for `boundMs`. */
  changedLately(apiKeyId: string): boolean;
  forget(apiKeyIds: readonly string[]): void;
  forgetAll(): void;
}

const maxAnswers = 10_000;

export function createAnswers(monotonicNow: () => number): Answers {
  const answers = createLru<Kept>(maxAnswers);
  const changed = new Map<string, Moment>();
  let changes = 0;
  let forgotten = 0;

  /** Of no use to anybody any more: who asked before that has no answer, or one that is not kept. */
  function forgetOldChanges(now: number): void {
    for (const [apiKeyId, { at }] of changed) if (now - at > 2 * boundMs) changed.delete(apiKeyId);
  }

  function changedSince(apiKeyId: string, asked: Moment): boolean {
    if (monotonicNow() - asked.at > boundMs) return true;
    return (changed.get(apiKeyId)?.changes ?? 0) > asked.changes;
  }

  return {
    use(question) {
      const kept = answers.get(question);
      if (kept === undefined || monotonicNow() >= kept.until) return undefined;
      const { budget, verdict } = kept;
      if (budget === undefined) return verdict;
      return takeOne(budget)
        ? { ...verdict, headers: withRemaining(verdict.headers, budget.left) }
        : undefined;
    },
    keep(question, kept, asked) {
      if (forgotten > asked.changes || changedSince(kept.apiKeyId, asked)) return;
      answers.set(question, kept);
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
      answers.deleteWhere((kept) => named.has(kept.apiKeyId));
    },
    forgetAll() {
      changes += 1;
      forgotten = changes;
      answers.clear();
    },
  };
}

/** What Patchbay said was left counts from when it said so. */
function withRemaining(headers: Readonly<Record<string, string>>, left: number): Record<string, string> {
  const { ratelimit, ...others } = headers;
  if (ratelimit === undefined) return others;
  return { ...others, ratelimit: ratelimit.replace(/;r=\d+/, `;r=${left}`) };
}
