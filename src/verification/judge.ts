import { hasEnded } from "#src/api-keys/api-key.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import type { Caller, Environment } from "#src/platform/caller.ts";
import { AddressNotAllowed, InvalidBearer, KeyExpired, WrongEnvironment } from "./errors.ts";

/** Where a key is presented, by whom and from where. */
export interface Presentation {
  /** The environment of the endpoint. */
  readonly environment: Environment;
  /** The service that presents the key, if it is known. */
  readonly callerServiceSlug: string | undefined;
  /** The client's address, if it is known. */
  readonly address: string | undefined;
}

/**
 * The caller behind a key, or the failure. The order is the requirement's: revoked, expired, caller, environment,
 * address. The checks after these (limit, scope and user) depend on the endpoint.
 */
export function judge(key: PresentedKey, at: Presentation, now: Date): Caller {
  if (key.revokedAt !== undefined) throw new InvalidBearer("revoked");
  // A secret whose grace is over is refused like an unknown one, though its key is still good.
  if (hasEnded(key.validUntil, now)) throw new InvalidBearer("retired");
  if (hasEnded(key.expiresAt, now)) throw new KeyExpired();
  if (key.callerServiceSlug !== undefined && key.callerServiceSlug !== at.callerServiceSlug) {
    throw new InvalidBearer("wrong caller service");
  }
  if (key.environment !== at.environment) throw new WrongEnvironment(key.environment, at.environment);
  if (!key.allows(at.address)) throw new AddressNotAllowed();
  return {
    orgId: key.orgId,
    via: { kind: "api_key", id: key.id, boundUserId: key.boundUserId },
    name: key.name,
    environment: key.environment,
    scopes: key.scopes,
    connections: key.connections,
    userId: key.activeUserId,
    expiresAt: key.expiresAt,
    secretValidUntil: key.validUntil,
    rateLimitPerMinute: key.rateLimitPerMinute,
  };
}
