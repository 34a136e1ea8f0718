import type { Caller, Environment } from "#src/platform/caller.ts";
import { ApiKeyRevoked, InvalidBearer, KeyExpired, SelfModification, WrongEnvironment } from "./errors.ts";

/** What may be presented for a key. The secret itself is nowhere, only its peppered hash. */
export interface KeySecret {
  readonly hash: Buffer;
  /** Its start, by which people recognise it. */
  readonly hint: string;
  readonly createdAt: Date;
  /** The instant from which it is refused; undefined for the newest one, which lasts as long as the key. */
  readonly validUntil: Date | undefined;
  readonly lastUsedAt: Date | undefined;
}

/** A key as its organisation knows it. It keeps its id over rotations, while its secrets come and go. */
export interface ApiKey {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly environment: Environment;
  /** As they were given. */
  readonly scopes: readonly string[];
  readonly actAsUserId: string | undefined;
  /** Newest first; there is always one. */
  readonly secrets: readonly KeySecret[];
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** Of all its secrets together; undefined for the deployment's limit. */
  readonly rateLimitPerMinute: number | undefined;
}

/** What a presented secret was found to be. */
export interface PresentedKey {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  /** The bound user, if it is still active: a deactivated one leaves the key unbound. */
  readonly activeUserId: string | undefined;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** Until when the secret is good that was presented; undefined for the newest. */
  readonly validUntil: Date | undefined;
  readonly rateLimitPerMinute: number | undefined;
}

/** The caller behind a key, or the failure in the order that the requirement sets: revoked, expired, environment. */
export function admit(key: PresentedKey, here: Environment, now: Date): Caller {
  // A secret whose grace is over is as unknown as one that never was, also when its key goes on.
  if (key.revokedAt !== undefined || hasEnded(key.validUntil, now)) throw new InvalidBearer();
  if (hasEnded(key.expiresAt, now)) throw new KeyExpired();
  if (key.environment !== here) throw new WrongEnvironment(key.environment, here);
  return {
    orgId: key.orgId,
    apiKeyId: key.id,
    name: key.name,
    environment: key.environment,
    scopes: key.scopes,
    userId: key.activeUserId,
    expiresAt: key.expiresAt,
    rateLimitPerMinute: key.rateLimitPerMinute,
  };
}

/** An end is the first instant that is too late. */
export function hasEnded(end: Date | undefined, now: Date): boolean {
  return end !== undefined && now >= end;
}

/** What may change after a key was issued. A field that is present and undefined is cleared. */
export interface ApiKeyChanges {
  name?: string;
  scopes?: readonly string[];
  actAsUserId?: string | undefined;
  expiresAt?: Date | undefined;
  rateLimitPerMinute?: number | undefined;
}

/** The key with the changes made. */
export function update(key: ApiKey, changes: ApiKeyChanges, by: { apiKeyId: string }): ApiKey {
  if (key.revokedAt !== undefined) throw new ApiKeyRevoked(key.id);
  // Four-eyes, least privilege, an end and a limit would be worth nothing if a key could change its own.
  if (key.id === by.apiKeyId && Object.keys(changes).some((field) => field !== "name")) {
    throw new SelfModification();
  }
  return { ...key, ...changes };
}

/** The key with its end set. */
export function revoke(key: ApiKey, now: Date): ApiKey {
  return key.revokedAt === undefined ? { ...key, revokedAt: now } : key;
}
