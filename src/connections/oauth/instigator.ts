import { hasEnded } from "#src/api-keys/api-key.ts";
import { getKey } from "#src/api-keys/store.ts";
import type { Tx } from "#src/db/database.ts";
import { isActiveUser } from "#src/directory/store.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Flow } from "./flow-store.ts";

/** Who began an authorization, for the record of how it ended. */
export function instigatorOf({ apiKeyId, userId }: Flow) {
  return { apiKeyId, userId, requestId: null };
}

/**
 * Whether whoever began it still could: a link is good for up to a day, and must not outlive the key that asked for it,
 * nor the user who answers for that.
 */
export async function mayGoOn(tx: Tx, flow: Flow, environment: Environment, now: Date): Promise<boolean> {
  const { orgId, apiKeyId, userId } = flow;
  const key =
    apiKeyId === null ? undefined : await getKey(tx, { orgId, environment, userId: undefined }, apiKeyId);
  if (key === undefined || key.revokedAt !== undefined || hasEnded(key.expiresAt, now)) return false;
  return userId === null || isActiveUser(tx, orgId, userId);
}
