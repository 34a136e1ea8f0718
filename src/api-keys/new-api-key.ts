import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Environment } from "#src/platform/caller.ts";
import { newId } from "#src/platform/ids.ts";
import type { ApiKey, KeyKind, KeySecret } from "./api-key.ts";
import type { ConnectionRights } from "./connection-rights.ts";
import { hintOf, newApiKeySecret } from "./secret-format.ts";

/** What the issuer decides about a key. */
export interface NewApiKeyFields {
  readonly orgId: string;
  readonly name: string;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  readonly actAsUserId?: string | undefined;
  readonly expiresAt?: Date | undefined;
  readonly rateLimitPerMinute?: number | undefined;
  readonly allowedCidrs?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly connections?: ConnectionRights;
  readonly kind?: KeyKind;
  readonly callerServiceSlug?: string | undefined;
}

/** A new key, not used yet, and its secret, which is stored nowhere. */
export function newApiKey(
  fields: NewApiKeyFields,
  pepper: Pepper,
  now: Date,
): { key: ApiKey; secret: string } {
  const { text, stored } = newSecret(fields.environment, pepper, now);
  return { key: keyWith(stored, fields, now), secret: text };
}

/** A key whose one secret is known already. */
export function keyWith(secret: KeySecret, fields: NewApiKeyFields, now: Date): ApiKey {
  return {
    ...fields,
    id: newId("key", now),
    kind: fields.kind ?? "issued",
    callerServiceSlug: fields.callerServiceSlug,
    actAsUserId: fields.actAsUserId,
    expiresAt: fields.expiresAt,
    secrets: [secret],
    createdAt: now,
    revokedAt: undefined,
    rateLimitPerMinute: fields.rateLimitPerMinute,
    allowedCidrs: fields.allowedCidrs ?? [],
    metadata: fields.metadata ?? {},
    connections: fields.connections,
  };
}

/** A secret to show once, and what is kept of it. */
export function newSecret(
  environment: Environment,
  pepper: Pepper,
  now: Date,
): { text: string; stored: KeySecret } {
  const text = newApiKeySecret(environment);
  const stored = {
    hash: pepper(text),
    hashKind: "peppered" as const,
    hint: hintOf(text),
    createdAt: now,
    validUntil: undefined,
    lastUsedAt: undefined,
  };
  return { text, stored };
}

/** What audit events show of a key. */
export function detailsOf(key: ApiKey) {
  return {
    name: key.name,
    environment: key.environment,
    scopes: [...key.scopes],
    actAsUserId: key.actAsUserId ?? null,
    expiresAt: key.expiresAt?.toISOString() ?? null,
    rateLimitPerMinute: key.rateLimitPerMinute ?? null,
    allowedCidrs: [...key.allowedCidrs],
    metadata: key.metadata,
    connections: key.connections ?? null,
    ...(key.kind !== "issued" && { kind: key.kind }),
    ...(key.callerServiceSlug !== undefined && { callerServiceSlug: key.callerServiceSlug }),
  };
}
