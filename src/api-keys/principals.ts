import type { NewAuditEvent } from "#src/audit/append.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Tx } from "#src/db/database.ts";
import type { Caller, Scope } from "#src/platform/caller.ts";
import { Secret } from "#src/platform/secret.ts";
import { revoke } from "./api-key.ts";
import { requireGrantable, requireScopes } from "./granting.ts";
import { detailsOf, newApiKey } from "./new-api-key.ts";
import { getCallerService, getKey, getKeyForUpdate, insertKey, saveKey } from "./store.ts";

/** Creates what connections get their service principals from: keys that only the one caller service may present. */
export function createPrincipals(parts: { pepper: Pepper; callerServiceSlug: string; now: () => Date }) {
  const { pepper, callerServiceSlug, now } = parts;
  return {
    async issue(
      tx: Tx,
      caller: Caller,
      {
        serviceSlug,
        scopes,
        after,
      }: { serviceSlug: string; scopes: readonly string[]; after: string | undefined },
    ) {
      requireScopes(scopes);
      // The caller chooses where the secret is sent, which is as good as being given it.
      requireGrantable(caller, scopes);
      const { orgId, environment } = caller;
      const name = `${serviceSlug} · ${callerServiceSlug}`;
      const before = after === undefined ? undefined : await getKey(tx, caller, after);
      const kind = "service_principal";
      const limits = { rateLimitPerMinute: before?.rateLimitPerMinute };
      const { key, secret } = newApiKey(
        { orgId, name, environment, scopes, kind, callerServiceSlug, ...limits },
        pepper,
        now(),
      );
      await insertKey(tx, key);
      const event = { action: "api_key.create", target: key.id, details: detailsOf(key) };
      return { keyId: key.id, secret: Secret.fromText(secret), event };
    },

    async revoke(tx: Tx, scope: Scope, keyId: string): Promise<NewAuditEvent | undefined> {
      const key = await getKeyForUpdate(tx, scope, keyId);
      if (key === undefined) throw new Error(`the service principal ${keyId} is gone`);
      // Its organisation may have revoked it by hand.
      if (key.revokedAt !== undefined) return undefined;
      await saveKey(tx, revoke(key, now()));
      return { action: "api_key.revoke", target: keyId, details: { name: key.name } };
    },

    async callerServiceOf(tx: Tx, scope: Scope, keyId: string): Promise<string> {
      const slug = await getCallerService(tx, scope, keyId);
      if (slug === undefined) throw new Error(`the service principal ${keyId} is gone`);
      return slug;
    },
  };
}
