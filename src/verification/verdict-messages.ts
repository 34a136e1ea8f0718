import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  Consistency,
  VerifyKeyCode,
  type PrincipalSchema,
  type RateBudgetSchema,
  type RelayedAnswerSchema,
  type VerifyKeyRequest,
  type VerifyKeyResponseSchema,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Environment } from "#src/platform/caller.ts";
import type { ReasonName, ServiceError } from "#src/platform/errors.ts";
import { httpFailureOf } from "#src/platform/http-failure.ts";
import { rateLimitHeaders } from "#src/ratelimit/headers.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import { InvalidBearer, type InvalidBecause } from "./errors.ts";
import type { Spent } from "./limits.ts";
import type { Question, Verdict } from "./verify-key.ts";

/** The question that a request asks. */
export function questionIn(
  request: VerifyKeyRequest,
  known: Pick<Question, "scopes" | "requestId">,
  here: Environment,
): Question {
  return {
    ...known,
    presented: request.key,
    environment: request.environment === "" ? here : (request.environment as Environment),
    callerServiceSlug: request.callerServiceSlug || undefined,
    sourceIp: request.sourceIp || undefined,
    fourEyes: request.fourEyes,
    distinctFromUserIds: request.distinctFromUserIds,
    strong: request.consistency === Consistency.STRONG,
    alreadyMade: request.alreadyMade,
  };
}

/** The verdict as the contract shows it. */
export function verdictMessage({
  key,
  spent,
  refusal,
}: Verdict): MessageInitShape<typeof VerifyKeyResponseSchema> {
  return {
    valid: refusal === undefined,
    code: refusal === undefined ? VerifyKeyCode.VALID : codeOf(refusal),
    ...(key && refusal === undefined && { principal: principal(key) }),
    apiKeyId: key?.id ?? "",
    ...(spent && { budget: budget(spent) }),
    answer: relayedAnswer(refusal, spent),
  };
}

function principal(key: PresentedKey): MessageInitShape<typeof PrincipalSchema> {
  return {
    organizationId: key.orgId,
    apiKeyId: key.id,
    name: key.name,
    scopes: [...key.scopes],
    metadata: { ...key.metadata },
    ...(key.activeUserId !== undefined && { effectiveUserId: key.activeUserId }),
    ...(key.callerServiceSlug !== undefined && { callerServiceSlug: key.callerServiceSlug }),
    ...(key.expiresAt && { expiresAt: timestampFromDate(key.expiresAt) }),
  };
}

function budget({ rate, budget }: Spent): MessageInitShape<typeof RateBudgetSchema> {
  return { limit: rate.limit, remaining: budget.remaining, resetMs: Math.ceil(budget.resetMs) };
}

function relayedAnswer(
  refusal: ServiceError | undefined,
  spent: Spent | undefined,
): MessageInitShape<typeof RelayedAnswerSchema> {
  const rateLimit = spent && rateLimitHeaders(spent.rate, spent.budget);
  if (refusal === undefined) return { headers: { ...rateLimit } };
  const { status, message, reason, headers } = httpFailureOf(refusal);
  return {
    status,
    headers: { ...rateLimit, ...headers, "content-type": "application/json", "x-error-reason": reason },
    body: JSON.stringify({ error: message }),
  };
}

function codeOf(refusal: ServiceError): VerifyKeyCode {
  if (refusal instanceof InvalidBearer) return codesOfInvalid[refusal.because];
  const code = codes[refusal.reason];
  if (code === undefined) throw new Error(`a verified key was refused with ${refusal.reason}`);
  return code;
}

const codesOfInvalid: Readonly<Record<InvalidBecause, VerifyKeyCode>> = {
  malformed: VerifyKeyCode.MALFORMED,
  unknown: VerifyKeyCode.NOT_FOUND,
  retired: VerifyKeyCode.NOT_FOUND,
  revoked: VerifyKeyCode.REVOKED,
  "wrong caller service": VerifyKeyCode.WRONG_CALLER_SERVICE,
};

const codes: Readonly<Partial<Record<ReasonName, VerifyKeyCode>>> = {
  KEY_EXPIRED: VerifyKeyCode.EXPIRED,
  WRONG_ENVIRONMENT: VerifyKeyCode.WRONG_ENVIRONMENT,
  ADDRESS_NOT_ALLOWED: VerifyKeyCode.ADDRESS_NOT_ALLOWED,
  RATE_LIMITED: VerifyKeyCode.RATE_LIMITED,
  MISSING_SCOPE: VerifyKeyCode.MISSING_SCOPE,
  API_KEY_NOT_BOUND_TO_USER: VerifyKeyCode.NOT_BOUND_TO_USER,
  FOUR_EYES_VIOLATION: VerifyKeyCode.FOUR_EYES_VIOLATION,
};
