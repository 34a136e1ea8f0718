import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type {
  ApiKeySchema,
  ApiKeySecretSchema,
  ConnectionRights as RightsMessage,
  ConnectionRightsSchema,
} from "#gen/patchbay/apikeys/v1/api_key_pb.js";
import type { ConnectionRight } from "#src/platform/connection-right.ts";
import type { ApiKey, KeySecret } from "./api-key.ts";
import type { ConnectionRights } from "./connection-rights.ts";

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
    ...withRights(key.connections),
  };
}

/** The field of rights in an answer, which a key without a list of them does not have. */
export function withRights(rights: ConnectionRights): {
  connections?: MessageInitShape<typeof ConnectionRightsSchema>;
} {
  return rights === undefined ? {} : { connections: { rights: rights.map(rightMessage) } };
}

function rightMessage({ connection, methods = [], pathPrefixes = [] }: ConnectionRight) {
  return { connection: nameMessage(connection), methods: [...methods], pathPrefixes: [...pathPrefixes] };
}

function nameMessage(name: ConnectionRight["connection"]) {
  if ("id" in name) return { case: "id", value: name.id } as const;
  if ("slug" in name) return { case: "slug", value: name.slug } as const;
  return { case: "tag", value: name.tag } as const;
}

/** The rights that a request gives; undefined for all. */
export function rightsFrom(message: RightsMessage | undefined): ConnectionRights {
  return message?.rights.map(({ connection, methods, pathPrefixes }) => ({
    connection: nameFrom(connection),
    ...(methods.length > 0 && { methods }),
    ...(pathPrefixes.length > 0 && { pathPrefixes }),
  }));
}

function nameFrom(name: RightsMessage["rights"][number]["connection"]): ConnectionRight["connection"] {
  switch (name.case) {
    case "id":
      return { id: name.value };
    case "slug":
      return { slug: name.value };
    case "tag":
      return { tag: name.value };
    case undefined:
      throw new Error("a right without a name of its connection passed the validation");
  }
}

function secretMessage(secret: KeySecret): MessageInitShape<typeof ApiKeySecretSchema> {
  return {
    hint: secret.hint,
    createdAt: timestampFromDate(secret.createdAt),
    ...(secret.validUntil && { validUntil: timestampFromDate(secret.validUntil) }),
    ...(secret.lastUsedAt && { lastUsedAt: timestampFromDate(secret.lastUsedAt) }),
  };
}
