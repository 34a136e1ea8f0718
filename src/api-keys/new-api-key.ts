import type { Environment } from "#src/platform/caller.ts";
import { newId } from "#src/platform/ids.ts";
import type { ApiKey } from "./api-key.ts";
import { hintOf, newApiKeySecret } from "./secret-format.ts";

/** What the issuer decides about a key. */
export interface NewApiKeyFields {
  readonly orgId: string;
  readonly name: string;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  readonly actAsUserId?: string | undefined;
  readonly expiresAt?: Date | undefined;
}

/** A key that nobody has used yet, and its secret, which is stored nowhere. */
export function newApiKey(fields: NewApiKeyFields, now: Date): { key: ApiKey; secret: string } {
  const secret = newApiKeySecret(fields.environment);
  const key: ApiKey = {
    ...fields,
    id: newId("key", now),
    actAsUserId: fields.actAsUserId,
    expiresAt: fields.expiresAt,
    hint: hintOf(secret),
    createdAt: now,
    revokedAt: undefined,
    lastUsedAt: undefined,
  };
  return { key, secret };
}

/** What audit events show of a key. */
export function detailsOf(key: ApiKey) {
  return {
    name: key.name,
    environment: key.environment,
    scopes: [...key.scopes],
    actAsUserId: key.actAsUserId ?? null,
    expiresAt: key.expiresAt?.toISOString() ?? null,
  };
}
