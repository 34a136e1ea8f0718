import { createHash } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  Consistency,
  VerifyKeyCode,
  type VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  type WatchRevocationsResponse,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { boundMs, type CachedAnswer, createAnswers, type Moment } from "./answers.ts";
import { type Budget, createBudgets } from "./budgets.ts";
import { isAboutOwnKey, isRefusal, problemOf, type ReportProblem } from "./problems.ts";
import { createRevocationWatch, silenceMs } from "./revocation-watch.ts";
import { unavailable, type Verdict, verdictOf } from "./verdict.ts";

/** What is asked of Patchbay about one request. */
export type Question = Omit<
  MessageInitShape<typeof VerifyKeyRequestSchema>,
  "$typeName" | "$unknown" | "consistency" | "alreadyMade"
> & { readonly key: string };

/** Answers questions about keys: from the cache, or by asking Patchbay. */
export interface Verifier {
  /** Never throws, and refuses where Patchbay has not answered. */
  verify(question: Question): Promise<Verdict>;
  close(): void;
}

/** An answer, and what decides whether it may be cached. */
interface Answer {
  readonly response: VerifyKeyResponse;
  readonly asked: Moment;
  readonly budget: Budget;
}

/**
 * A request waits for at most this many answers to other requests, then it asks by itself. One answer may leave too
 * little budget for all that wait, and the next one may refuse the rest; but beyond the limit of a key they would wait
 * in a row, each until its turn has a free place, and no caller would get the 429 that slows it down.
 */
const maxShared = 2;

export function createVerifier(parts: {
  ask: (request: MessageInitShape<typeof VerifyKeyRequestSchema>) => Promise<VerifyKeyResponse>;
  watchRevocations: (signal: AbortSignal) => AsyncIterable<WatchRevocationsResponse>;
  /** Gives up the connection, on which nothing arrives any more. */
  disconnect: () => void;
  report: ReportProblem;
  monotonicNow: () => number;
}): Verifier {
  const { ask, watchRevocations, disconnect, report, monotonicNow } = parts;
  const answers = createAnswers(monotonicNow);
  const budgets = createBudgets();
  /** Questions on their way, by their hashes. */
  const asking = new Map<string, Promise<Verdict | undefined>>();
  let answeredAt = -Infinity;

  const watch = createRevocationWatch({
    watchRevocations,
    onMessage({ forgetAll, apiKeyIds }) {
      if (forgetAll) answers.forgetAll();
      if (apiKeyIds.length > 0) answers.forget(apiKeyIds);
    },
    onSilence() {
      // A proxy may hold back streams while it passes on answers; those must not suffer.
      if (monotonicNow() - answeredAt > silenceMs) disconnect();
    },
    onFailure(error, isLasting) {
      if (isAboutOwnKey(error)) report(problemOf(error), error);
      else if (isLasting) report("revocations cannot be watched, so every request asks Patchbay", error);
    },
    monotonicNow,
  });

  async function send(question: Question, secret: string, strong: boolean): Promise<Answer> {
    const asked = answers.moment();
    const charge = budgets.asking(secret);
    try {
      const response = await ask({
        ...question,
        alreadyMade: charge.alreadyMade,
        consistency: strong ? Consistency.STRONG : Consistency.UNSPECIFIED,
      });
      answeredAt = monotonicNow();
      const budget = budgets.answered(charge, response.apiKeyId, response.budget?.remaining);
      return { response, asked, budget };
    } catch (error) {
      budgets.failed(charge);
      throw error;
    }
  }

  /**
   * The answer about the key as it is after all changes that this guard heard of. Without strong consistency, a replica
   * that has not heard of them could answer, and its answer would be used for seconds.
   */
  async function askAsOfNow(question: Question, secret: string): Promise<Answer> {
    const owner = budgets.of(secret)?.apiKeyId;
    const strong = owner !== undefined && answers.changedLately(owner);
    const first = await send(question, secret, strong);
    const { apiKeyId } = first.response;
    const overtaken =
      answers.changedSince(apiKeyId, first.asked) || (!strong && answers.changedLately(apiKeyId));
    return overtaken ? send(question, secret, true) : first;
  }

  /** Undefined if Patchbay cannot be reached. */
  async function askPatchbay(id: string, question: Question, secret: string): Promise<Verdict | undefined> {
    try {
      const answer = await askAsOfNow(question, secret);
      const verdict = verdictOf(answer.response);
      if (verdict === undefined) {
        report("Patchbay's answer contradicts itself", undefined);
        return unavailable;
      }
      const cached = cacheable(answer, verdict, question);
      if (cached !== undefined) answers.keep(id, cached, answer.asked);
      return verdict;
    } catch (error) {
      report(problemOf(error), error);
      return isRefusal(error) ? unavailable : undefined;
    }
  }

  function askOnce(id: string, question: Question, secret: string): Promise<Verdict | undefined> {
    const started = askPatchbay(id, question, secret).finally(() => {
      if (asking.get(id) === started) asking.delete(id);
    });
    asking.set(id, started);
    return started;
  }

  function whileUnreachable(id: string): Verdict {
    return (watch.heardWithin(boundMs) ? answers.use(id) : undefined) ?? unavailable;
  }

  return {
    async verify(question) {
      watch.open();
      const id = idOf(question);
      const secret = sha256(question.key);
      for (let shared = 0; watch.isCurrent(); shared++) {
        const known = answers.use(id);
        if (known !== undefined) return known;
        const running = asking.get(id);
        if (running === undefined || shared === maxShared) break;
        const verdict = await running;
        if (verdict === undefined) return whileUnreachable(id);
        if (verdict.principal === undefined) return verdict;
        // It is for the request that asked. The others take it out of the cache, where each is counted.
      }
      return (await askOnce(id, question, secret)) ?? whileUnreachable(id);
    },
    close: () => watch.close(),
  };
}

/** A name for the question that does not contain the key. */
function idOf(question: Question): string {
  const { key, scopes, endpoint, environment, callerServiceSlug, sourceIp, fourEyes, distinctFromUserIds } =
    question;
  const { serviceSlug, method, path } = endpoint ?? {};
  const asked = [key, scopes, serviceSlug, method, path, environment, callerServiceSlug, sourceIp];
  return sha256(JSON.stringify([...asked, fourEyes, distinctFromUserIds]));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** What to cache of an answer; undefined if it is for this one request only. */
function cacheable(answer: Answer, verdict: Verdict, question: Question): CachedAnswer | undefined {
  const { response, asked, budget } = answer;
  const { apiKeyId } = response;
  const cached = { verdict, apiKeyId, until: asked.at + boundMs };
  if (verdict.principal !== undefined) {
    const { expiresAt } = verdict.principal;
    const leftMs = expiresAt === undefined ? boundMs : timestampMs(expiresAt) - Date.now();
    return { ...cached, until: asked.at + Math.min(boundMs, leftMs), budget };
  }
  if (response.code === VerifyKeyCode.RATE_LIMITED) {
    const retryAfterMs = Number(verdict.headers["retry-after"]) * 1_000;
    return retryAfterMs > 0 ? { ...cached, until: asked.at + Math.min(boundMs, retryAfterMs) } : undefined;
  }
  // Only "no key": there are as many malformed keys as texts, and they would push the valid ones out of the cache.
  return response.code === VerifyKeyCode.MALFORMED && question.key === "" ? cached : undefined;
}
