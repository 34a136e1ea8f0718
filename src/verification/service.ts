import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  VerificationService,
  VerifyKeyRequest,
  VerifyKeyResponseSchema,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { findEndpoint } from "#src/operations/find-endpoint.ts";
import type { Describe } from "#src/operations/operations.ts";
import { callerOf, callOf, type Environment } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Revocations } from "./revocations.ts";
import { questionIn, verdictMessage } from "./verdict-messages.ts";
import type { Question, VerifyKey } from "./verify-key.ts";

/** Answers what other services ask about keys. See the contract, `verification_service.proto`. */
export function createVerificationService(parts: {
  verify: VerifyKey;
  revocations: Revocations;
  describe: Describe;
  environment: Environment;
}): ServiceImpl<typeof VerificationService> {
  const { verify, revocations, describe, environment } = parts;

  /** The scopes that the endpoint needs by the catalog, and those that the request names as well. */
  async function scopesFor(
    { scopes, endpoint }: VerifyKeyRequest,
    orgId: string,
  ): Promise<readonly string[]> {
    if (endpoint === undefined) return scopes;
    const found = findEndpoint(await describe(orgId, endpoint.serviceSlug), endpoint);
    if (found === undefined) {
      throw new InvalidRequest(
        "endpoint: the catalog names no such endpoint of that service; see GET /api/catalog/services, or give scopes",
      );
    }
    return [...found.scopes, ...scopes];
  }

  async function questionOf(request: VerifyKeyRequest, context: HandlerContext): Promise<Question> {
    const { requestId } = callOf(context);
    const scopes = await scopesFor(request, callerOf(context).orgId);
    return questionIn(request, { scopes, requestId }, environment);
  }

  async function answer(
    question: Question,
    context: HandlerContext,
  ): Promise<MessageInitShape<typeof VerifyKeyResponseSchema>> {
    return verdictMessage(await verify(question, callerOf(context).orgId));
  }

  return {
    verifyKey: async (request, context) => answer(await questionOf(request, context), context),

    async verifyKeys({ requests }, context) {
      // All are read first: if one is invalid, nothing is charged for the others.
      const questions = await Promise.all(requests.map((request) => questionOf(request, context)));
      // One after another: that is the order of charging, and it leaves the database free for others as well.
      const responses = [];
      for (const question of questions) responses.push(await answer(question, context));
      return { responses };
    },

    watchRevocations: (_request, context) =>
      revocations.watch(callerOf(context), async () => callOf(context).recheck?.(), context.signal),
  };
}
