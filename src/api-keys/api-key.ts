import type { Caller, Environment } from "#src/platform/caller.ts";
import { ApiKeyRevoked, InvalidBearer, KeyExpired, SelfModification, WrongEnvironment } from "./errors.ts";

/** A key as its organisation knows it; its secrets are elsewhere, as hashes. */
export interface ApiKey {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly environment: Environment;
  /** As they were given. */
  readonly scopes: readonly string[];
  readonly actAsUserId: string | undefined;
  readonly hint: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  readonly lastUsedAt: Date | undefined;
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
}

/** The caller behind a key, or the failure in the order that the requirement sets: revoked, expired, environment. */
export function admit(key: PresentedKey, here: Environment, now: Date): Caller {
  if (key.revokedAt !== undefined) throw new InvalidBearer();
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
  };
}

function hasEnded(expiresAt: Date | undefined, now: Date): boolean {
  return expiresAt !== undefined && now >= expiresAt;
}

/** What may change after a key was issued. A field that is present and undefined is cleared. */
export interface ApiKeyChanges {
  name?: string;
  scopes?: readonly string[];
  actAsUserId?: string | undefined;
  expiresAt?: Date | undefined;
}

/** The key with the changes made. */
export function update(key: ApiKey, changes: ApiKeyChanges, by: { apiKeyId: string }): ApiKey {
  if (key.revokedAt !== undefined) throw new ApiKeyRevoked(key.id);
  // Four-eyes, least privilege and an end would be worth nothing if a key could change them for itself.
  if (key.id === by.apiKeyId && Object.keys(changes).some((field) => field !== "name")) {
    throw new SelfModification();
  }
  return { ...key, ...changes };
}

/** The key with its end set. */
export function revoke(key: ApiKey, now: Date): ApiKey {
  return key.revokedAt === undefined ? { ...key, revokedAt: now } : key;
}
