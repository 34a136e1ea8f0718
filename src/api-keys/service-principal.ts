import type { NewAuditEvent } from "#src/audit/append.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Tx } from "#src/db/database.ts";
import type { Caller, Viewer } from "#src/platform/caller.ts";
import { Secret } from "#src/platform/secret.ts";
import { revoke } from "./api-key.ts";
import type { ConnectionRights } from "./connection-rights.ts";
import { requireGrantable, requireScopes } from "./granting.ts";
import { detailsOf, newApiKey } from "./new-api-key.ts";
import { getKeyForUpdate, insertKey, saveKey } from "./store.ts";

/**
 * Issues and ends service principals: API keys that are the credential of one connection and never shown.
 *
 * The events are for the caller to append when it has changed everything else: an append locks the record of the
 * organisation, and a transaction that locks a key after that could wait for one that waits for the record.
 */
export interface ServicePrincipals {
  /**
   * A new key for the service. Throws if there are no scopes, or more than the caller may give. The key has the rate
   * limit of the key that it replaces, if there was one.
   */
  issue(tx: Tx, caller: Caller, wanted: WantedPrincipal): Promise<IssuedPrincipal>;
  /** Ends the key. No event is due if it was ended before. */
  revoke(tx: Tx, viewer: Viewer, keyId: string): Promise<NewAuditEvent | undefined>;
}

/** What a new key is for. */
export interface WantedPrincipal {
  readonly serviceSlug: string;
  readonly scopes: readonly string[];
  /** The key of the connection until now. */
  readonly replacedKeyId: string | undefined;
}

/** A key that was issued in this transaction. */
export interface IssuedPrincipal {
  readonly keyId: string;
  readonly secret: Secret;
  readonly event: NewAuditEvent;
}

/** Creates the issuer of connections' service principals: keys that only the one caller service may present. */
export function createServicePrincipals(parts: {
  pepper: Pepper;
  callerServiceSlug: string;
  now: () => Date;
}): ServicePrincipals {
  const { pepper, callerServiceSlug, now } = parts;
  return {
    async issue(tx, caller, { serviceSlug, scopes, replacedKeyId }) {
      requireScopes(scopes);
      // It is for the service that is called, and uses no connection.
      const connections: ConnectionRights = [];
      // The caller chooses where the secret is sent, which is as good as being given it.
      requireGrantable(caller, { scopes, connections });
      const { orgId, environment } = caller;
      // Locked until it is revoked, or a change of its limit in between would be lost.
      const replaced =
        replacedKeyId === undefined ? undefined : await getKeyForUpdate(tx, caller, replacedKeyId);
      const { key, secret } = newApiKey(
        {
          orgId,
          name: `${serviceSlug} · ${callerServiceSlug}`,
          environment,
          scopes,
          connections,
          kind: "service_principal",
          callerServiceSlug,
          rateLimitPerMinute: replaced?.rateLimitPerMinute,
        },
        pepper,
        now(),
      );
      await insertKey(tx, key);
      const event = { action: "api_key.create", target: key.id, details: detailsOf(key) };
      return { keyId: key.id, secret: Secret.fromText(secret), event };
    },

    async revoke(tx, viewer, keyId) {
      const key = await getKeyForUpdate(tx, viewer, keyId);
      if (key === undefined) throw new Error(`the service principal ${keyId} is gone`);
      // Its organisation may have revoked it by hand.
      if (key.revokedAt !== undefined) return undefined;
      await saveKey(tx, revoke(key, now()));
      return { action: "api_key.revoke", target: keyId, details: { name: key.name } };
    },
  };
}
