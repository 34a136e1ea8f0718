import type { Environment } from "#src/platform/caller.ts";
import type { ConnectionRights } from "./connection-rights.ts";
import { ApiKeyRevoked, SelfModification, ServicePrincipalKey } from "./errors.ts";

/** Hashed with the deployment's pepper, or without it for a key that was imported by its hash. */
export type HashKind = "peppered" | "sha256";

/** One secret of a key. The secret itself is stored nowhere, only its hash. */
export interface KeySecret {
  readonly hash: Buffer;
  readonly hashKind: HashKind;
  /** Its start, by which people recognise it. */
  readonly hint: string;
  readonly createdAt: Date;
  /** The instant from which it is refused; undefined for the newest one, which lasts as long as the key. */
  readonly validUntil: Date | undefined;
  readonly lastUsedAt: Date | undefined;
}

/** Where a key comes from: issued here, by an earlier system, or for a connection that holds it. */
export type KeyKind = "issued" | "imported" | "service_principal";

/** A key as its organisation knows it. It keeps its id over rotations, while its secrets come and go. */
export interface ApiKey {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly environment: Environment;
  readonly kind: KeyKind;
  /** For a service principal: the one service that may present it. */
  readonly callerServiceSlug: string | undefined;
  /** In the spelling that the caller gave. */
  readonly scopes: readonly string[];
  readonly actAsUserId: string | undefined;
  /** Newest first; there is always one. */
  readonly secrets: readonly KeySecret[];
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** For all its secrets together; undefined for the deployment's limit. */
  readonly rateLimitPerMinute: number | undefined;
  /** The addresses that may present it; empty for all. */
  readonly allowedCidrs: readonly string[];
  /** What its owners note about it. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The connections that it may use, and how. */
  readonly connections: ConnectionRights;
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
  allowedCidrs?: readonly string[];
  metadata?: Readonly<Record<string, string>>;
  connections?: ConnectionRights;
}

/** The key with the changes made. */
export function update(key: ApiKey, changes: ApiKeyChanges, by: { id: string }): ApiKey {
  if (key.revokedAt !== undefined) throw new ApiKeyRevoked(key.id);
  const onlyNames = (...allowed: string[]) => Object.keys(changes).every((field) => allowed.includes(field));
  if (key.kind === "service_principal" && !onlyNames("rateLimitPerMinute")) {
    throw new ServicePrincipalKey(key.id);
  }
  // Four-eyes, least privilege, an end and a limit would be worth nothing if a key could change its own.
  if (key.id === by.id && !onlyNames("name")) throw new SelfModification();
  return { ...key, ...changes };
}

/** The key with its end set. */
export function revoke(key: ApiKey, now: Date): ApiKey {
  return key.revokedAt === undefined ? { ...key, revokedAt: now } : key;
}
