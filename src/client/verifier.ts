import { hash } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  Consistency,
  VerifyKeyCode,
  type VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  type WatchRevocationsResponse,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { boundMs, createAnswers, type Kept, type Moment } from "./answers.ts";
import { type Budget, createBudgets } from "./budgets.ts";
import { isAboutOwnKey, isAnswer, problemOf, type TellProblem } from "./problems.ts";
import { createRevocationWatch, silenceMs } from "./revocation-watch.ts";
import { type Verdict, unavailable, verdictIn } from "./verdict.ts";

/** What is asked of Patchbay about one request. */
export type Question = Omit<
  MessageInitShape<typeof VerifyKeyRequestSchema>,
  "$typeName" | "$unknown" | "consistency" | "alreadyMade"
> & { readonly key: string };

/** Says what becomes of requests, and remembers for a few seconds what Patchbay said. */
export interface Verifier {
  /** Never throws, and never lets anybody in on whose key there is no answer. */
  verify(question: Question): Promise<Verdict>;
  close(): void;
}

/** An answer, and what to know about it to keep it. */
interface Answer {
  readonly response: VerifyKeyResponse;
  readonly asked: Moment;
  readonly budget: Budget;
}

/**
 * A request waits for so many answers to others, then it asks by itself. One answer may be too little for all who
 * wait, and the next one a refusal for the rest; but beyond the limit of a key they would wait one for another, each
 * time for as long as it takes until one more may come, and nobody would be told to slow down.
 */
const mostShared = 2;

export function createVerifier(parts: {
  ask: (request: MessageInitShape<typeof VerifyKeyRequestSchema>) => Promise<VerifyKeyResponse>;
  listen: (signal: AbortSignal) => AsyncIterable<WatchRevocationsResponse>;
  /** Gives up the connection, on which nothing comes any more. */
  hangUp: () => void;
  tell: TellProblem;
  monotonicNow: () => number;
}): Verifier {
  const { ask, listen, hangUp, tell, monotonicNow } = parts;
  const answers = createAnswers(monotonicNow);
  const budgets = createBudgets();
  /** Questions on their way, by their hashes. */
  const asking = new Map<string, Promise<Verdict | undefined>>();
  let answeredAt = -Infinity;

  const watch = createRevocationWatch({
    listen,
    heard({ forgetAll, apiKeyIds }) {
      if (forgetAll) answers.forgetAll();
      if (apiKeyIds.length > 0) answers.forget(apiKeyIds);
    },
    fellSilent() {
      // A proxy may hold back streams while it passes on answers; those must not suffer.
      if (monotonicNow() - answeredAt > silenceMs) hangUp();
    },
    broke(error, isNews) {
      if (isAboutOwnKey(error)) tell(problemOf(error), error);
      else if (isNews) tell("changes of keys cannot be heard of, so every request asks Patchbay", error);
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
   * The answer about the key as it is after all that was heard of it. Without asking for a strong one, a replica that
   * heard less than we did could answer, and would be believed for seconds.
   */
  async function sendUntilSettled(question: Question, secret: string): Promise<Answer> {
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
      const answer = await sendUntilSettled(question, secret);
      const verdict = verdictIn(answer.response);
      if (verdict === undefined) {
        tell("Patchbay's answer makes no sense", undefined);
        return unavailable;
      }
      const kept = keepable(answer, verdict, question);
      if (kept !== undefined) answers.keep(id, kept, answer.asked);
      return verdict;
    } catch (error) {
      tell(problemOf(error), error);
      return isAnswer(error) ? unavailable : undefined;
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
      const secret = hash("sha256", question.key);
      for (let shared = 0; watch.isHearing(); shared++) {
        const known = answers.use(id);
        if (known !== undefined) return known;
        const running = asking.get(id);
        if (running === undefined || shared === mostShared) break;
        const verdict = await running;
        if (verdict === undefined) return whileUnreachable(id);
        if (verdict.principal === undefined) return verdict;
        // It is for whoever asked first. The others take it out of what was kept, where each is counted.
      }
      return (await askOnce(id, question, secret)) ?? whileUnreachable(id);
    },
    close: () => watch.close(),
  };
}

/** A name for the question that holds no key. */
function idOf(question: Question): string {
  const { key, scopes, endpoint, environment, callerServiceSlug, sourceIp, fourEyes, distinctFromUserIds } =
    question;
  const { serviceSlug, method, path } = endpoint ?? {};
  const asked = [key, scopes, serviceSlug, method, path, environment, callerServiceSlug, sourceIp];
  return hash("sha256", JSON.stringify([...asked, fourEyes, distinctFromUserIds]));
}

/** What to keep of an answer; undefined if it is for this one request only. */
function keepable(answer: Answer, verdict: Verdict, question: Question): Kept | undefined {
  const { response, asked, budget } = answer;
  const { apiKeyId } = response;
  const kept = { verdict, apiKeyId, until: asked.at + boundMs };
  if (verdict.principal !== undefined) {
    const { expiresAt } = verdict.principal;
    const leftMs = expiresAt === undefined ? boundMs : timestampMs(expiresAt) - Date.now();
    return { ...kept, until: asked.at + Math.min(boundMs, leftMs), budget };
  }
  if (response.code === VerifyKeyCode.RATE_LIMITED) {
    const retryAfterMs = Number(verdict.headers["retry-after"]) * 1_000;
    return retryAfterMs > 0 ? { ...kept, until: asked.at + Math.min(boundMs, retryAfterMs) } : undefined;
  }
  // Other keys that cannot be one are as many as there are texts, and would push out the good.
  return response.code === VerifyKeyCode.MALFORMED && question.key === "" ? kept : undefined;
}
