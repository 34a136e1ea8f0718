import { create, toJsonString } from "@bufbuild/protobuf";
import { WhoAmIResponseSchema } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { scopeVocabulary } from "#src/rpc/policy.ts";

/** What the baselines answer: as large as what Patchbay answers. */
export const whoAmIAnswer = create(WhoAmIResponseSchema, {
  organizationId: "org_01M82DJS0Q16QEN9ZW4JFAMZ6P",
  apiKeyId: "key_01M82DJS0QPYB1W4QKVE733XQQ",
  name: "admin",
  environment: "sandbox",
  scopes: [...scopeVocabulary],
});

/** The same as JSON. */
export const whoAmIJson = toJsonString(WhoAmIResponseSchema, whoAmIAnswer);
