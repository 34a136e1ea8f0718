import { create, toJsonString } from "@bufbuild/protobuf";
import { WhoAmIResponseSchema } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import {
  VerifyKeyCode,
  VerifyKeyResponseSchema,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { scopeVocabulary } from "#src/pipeline/policy.ts";

const organizationId = "org_01M82DJS0Q16QEN9ZW4JFAMZ6P";
const apiKeyId = "key_01M82DJS0QPYB1W4QKVE733XQQ";
const scopes = [...scopeVocabulary];

/** What the baselines answer: as large as what Patchbay answers. */
export const whoAmIAnswer = create(WhoAmIResponseSchema, {
  organizationId,
  apiKeyId,
  name: "admin",
  environment: "sandbox",
  scopes,
});

/** As large as the answer about a good key. */
export const verifyKeyAnswer = create(VerifyKeyResponseSchema, {
  valid: true,
  code: VerifyKeyCode.VALID,
  principal: { organizationId, apiKeyId, name: "admin", scopes },
  apiKeyId,
  budget: { limit: 1_000_000_000, remaining: 999_999_999, resetMs: 1 },
  answer: {
    headers: {
      "ratelimit-policy": '"default";q=1000000000;w=60',
      ratelimit: '"default";r=999999999;t=1',
    },
  },
});

/** The same as JSON. */
export const whoAmIJson = toJsonString(WhoAmIResponseSchema, whoAmIAnswer);
/** The same as JSON. */
export const verifyKeyJson = toJsonString(VerifyKeyResponseSchema, verifyKeyAnswer);
