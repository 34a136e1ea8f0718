import { hasEnded, type ApiKey, type KeySecret } from "./api-key.ts";
import { ApiKeyExpired, ApiKeyRevoked, SecretInUse, ServicePrincipalKey, TooManySecrets } from "./errors.ts";

/** Each rotation within a grace leaves one more; beyond this, a caller rotates without ever using the new secret. */
const maxLiveSecrets = 5;

/** A key after a rotation, and the first instant at which its previous secret is refused. */
export interface Rotation {
  readonly key: ApiKey;
  readonly previousValidUntil: Date;
}

/**
 * The key with a new secret. The previous secret stays good for the grace, and never past the key's own end.
 * Promises of earlier rotations stand: they are neither shortened nor extended.
 */
export function rotate(key: ApiKey, fresh: KeySecret, graceMs: number, now: Date): Rotation {
  requireRotatable(key, now);
  return replaceNewest(key, fresh, earliest(new Date(now.getTime() + graceMs), key.expiresAt), now);
}

/** The key with a new secret in place of its newest one, which was lost on its way and unused, so it ends at once. */
export function replaceUnused(key: ApiKey, fresh: KeySecret, now: Date): Rotation {
  requireRotatable(key, now);
  const newest = key.secrets.find(({ validUntil }) => validUntil === undefined);
  if (newest?.lastUsedAt !== undefined) throw new SecretInUse(key.id, "has been used");
  // Its holders have it, and may just not have used it here yet.
  if (key.kind === "imported" && key.secrets.length === 1)
    throw new SecretInUse(key.id, "is the imported one");
  return replaceNewest(key, fresh, now, now);
}

function requireRotatable(key: ApiKey, now: Date): void {
  if (key.revokedAt !== undefined) throw new ApiKeyRevoked(key.id);
  // Its secret is never shown, and a rotation would show the new one.
  if (key.kind === "service_principal") throw new ServicePrincipalKey(key.id);
  if (hasEnded(key.expiresAt, now)) throw new ApiKeyExpired(key.id);
}

function replaceNewest(key: ApiKey, fresh: KeySecret, previousValidUntil: Date, now: Date): Rotation {
  const secrets = [
    fresh,
    ...key.secrets.map((secret) => ({ ...secret, validUntil: secret.validUntil ?? previousValidUntil })),
  ];
  const live = secrets.filter(({ validUntil }) => !hasEnded(validUntil, now));
  if (live.length > maxLiveSecrets) throw new TooManySecrets(maxLiveSecrets);
  return { key: { ...key, secrets }, previousValidUntil };
}

/** The key with no secret but the newest; undefined if it has no other that is still good. */
export function endGrace(key: ApiKey, now: Date): ApiKey | undefined {
  if (key.revokedAt !== undefined) throw new ApiKeyRevoked(key.id);
  const retiring = key.secrets.filter(
    ({ validUntil }) => validUntil !== undefined && !hasEnded(validUntil, now),
  );
  if (retiring.length === 0) return undefined;
  const secrets = key.secrets.map((secret) =>
    retiring.includes(secret) ? { ...secret, validUntil: now } : secret,
  );
  return { ...key, secrets };
}

function earliest(one: Date, other: Date | undefined): Date {
  return other !== undefined && other < one ? other : one;
}
