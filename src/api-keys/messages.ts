import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ApiKeySchema, ApiKeySecretSchema } from "#gen/patchbay/apikeys/v1/api_key_pb.js";
import type { ApiKey, KeySecret } from "./api-key.ts";

/** A key as the contract shows it. */
export function toMessage(key: ApiKey): MessageInitShape<typeof ApiKeySchema> {
  const lastUsedAt = key.secrets
    .flatMap((secret) => secret.lastUsedAt ?? [])
    .reduce<Date | undefined>((latest, at) => (latest === undefined || at > latest ? at : latest), undefined);
  return {
    id: key.id,
    name: key.name,
    environment: key.environment,
    scopes: [...key.scopes],
    ...(key.actAsUserId !== undefined && { actAsUserId: key.actAsUserId }),
    hint: key.secrets[0]?.hint ?? "",
    createdAt: timestampFromDate(key.createdAt),
    ...(key.expiresAt && { expiresAt: timestampFromDate(key.expiresAt) }),
    ...(key.revokedAt && { revokedAt: timestampFromDate(key.revokedAt) }),
    ...(key.rateLimitPerMinute !== undefined && { rateLimitPerMinute: key.rateLimitPerMinute }),
    ...(lastUsedAt && { lastUsedAt: timestampFromDate(lastUsedAt) }),
    secrets: key.secrets.map(secretMessage),
    kind: key.kind,
    ...(key.callerServiceSlug !== undefined && { callerServiceSlug: key.callerServiceSlug }),
    allowedCidrs: [...key.allowedCidrs],
    metadata: { ...key.metadata },
  };
}

function secretMessage(secret: KeySecret): MessageInitShape<typeof ApiKeySecretSchema> {
  return {
    hint: secret.hint,
    createdAt: timestampFromDate(secret.createdAt),
    ...(secret.validUntil && { validUntil: timestampFromDate(secret.validUntil) }),
    ...(secret.lastUsedAt && { lastUsedAt: timestampFromDate(secret.lastUsedAt) }),
  };
}
