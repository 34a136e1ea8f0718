import { TooManyCallsWait } from "#src/db/errors.ts";
import type { Environment } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { canonicalAddress } from "#src/platform/ip.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { judge } from "./judge.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import { unknownKey } from "./authenticate.ts";
import { ApiKeyNotBoundToUser, FourEyesViolation, InvalidBearer } from "./errors.ts";
import { MissingScope } from "#src/api-keys/errors.ts";
import type { Limits, Spent } from "./limits.ts";
import { recordingMisuse, type MisuseEvents } from "./misuse-events.ts";
import type { KeyLookup } from "./key-lookup.ts";
import type { KeyUse } from "./key-use.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { secretIn } from "#src/api-keys/secret-format.ts";

/** What a service asks about a key that was presented to it. */
export interface Question {
  /** The id of the call that asks. */
  readonly requestId: string;
  /** The key, or a whole Authorization header. */
  readonly presented: string;
  /** The environment of the endpoint. */
  readonly environment: Environment;
  /** The key needs all of them. */
  readonly scopes: readonly string[];
  readonly callerServiceSlug: string | undefined;
  readonly sourceIp: string | undefined;
  readonly fourEyes: boolean;
  /** Users who have already acted on the artifact. */
  readonly distinctFromUserIds: readonly string[];
  /** Asks the database, whatever is remembered. */
  readonly strong: boolean;
  /** Requests that were let in on the strength of an earlier answer. */
  readonly alreadyMade: number;
}

/** What became of the key. */
export interface Verdict {
  /** The key, if the organisation that asks has it. */
  readonly key: PresentedKey | undefined;
  /** What is left of its budget; undefined if the key was refused before that was looked at. */
  readonly spent: Spent | undefined;
  /** Why it is refused; undefined if it is good. */
  readonly refusal: ServiceError | undefined;
}

/** Answers the question of a service of this organisation. */
export type VerifyKey = (question: Question, orgId: string) => Promise<Verdict>;

export function createVerifyKey(parts: {
  keys: KeyLookup;
  limits: Limits;
  misuse: MisuseEvents;
  use: KeyUse;
  now: () => Date;
}): VerifyKey {
  const { keys, limits, misuse, use, now } = parts;

  /** Finds the key among the organisation's own; another organisation's key looks like none. */
  async function find(question: Question, orgId: string, beforeGuess?: () => Promise<void>) {
    const secret = secretIn(question.presented);
    if (secret === undefined) throw new InvalidBearer("malformed");
    const key = await keys.find(secret, { strong: question.strong, beforeGuess, askedBy: orgId });
    if (key === undefined || key.orgId !== orgId) throw unknownKey(secret, question.environment);
    return key;
  }

  return async (question, orgId) => {
    let key: PresentedKey | undefined;
    let spent: Spent | undefined;
    const address = canonicalAddress(question.sourceIp);

    async function authenticate(beforeGuess?: () => Promise<void>) {
      const found = await find(question, orgId, beforeGuess);
      key = found;
      const at = now();
      const presented = { ...question, address };
      recordingMisuse(misuse, found, presented, () => judge(found, presented, at));
      await use.note(found, at);
      return found;
    }

    try {
      // Clients without a known address cannot be counted separately: together, they would lock each other out.
      const good =
        address === undefined
          ? await authenticate()
          : await limits.limitFailures(`${orgId}/${clientNameOf(address)}`, authenticate);
      spent = await limits.spend(good, question.alreadyMade);
      if (!spent.budget.allowed) throw new RateLimited(spent.budget);
      requireScopes(good, question.scopes);
      requireUser(good, question);
      return { key, spent, refusal: undefined };
    } catch (thrown) {
      if (!(thrown instanceof ServiceError) || thrown.kind === "unavailable") throw thrown;
      // The question itself was one too many; the key was not judged.
      if (thrown instanceof TooManyCallsWait) throw thrown;
      return { key, spent, refusal: thrown };
    }
  };
}

function requireScopes(key: PresentedKey, scopes: readonly string[]): void {
  const missing = scopes.find((scope) => !grants(key.scopes, scope));
  if (missing !== undefined) throw new MissingScope(missing);
}

function requireUser({ activeUserId }: PresentedKey, question: Question): void {
  const { fourEyes, distinctFromUserIds } = question;
  if (!fourEyes && distinctFromUserIds.length === 0) return;
  if (activeUserId === undefined) throw new ApiKeyNotBoundToUser();
  if (distinctFromUserIds.includes(activeUserId)) throw new FourEyesViolation();
}
