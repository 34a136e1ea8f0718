import { isDeepStrictEqual } from "node:util";
import { isWithin } from "#src/outbound/base-url.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Connection } from "./connection.ts";
import type { FallbackCredential } from "./fallback-store.ts";
import type { StoredCredential } from "./store.ts";

/** A connection as it was before a change. */
export interface Before {
  readonly connection: Connection;
  readonly credential: StoredCredential | undefined;
}

/**
 * What a connection falls back to for a while, once another credential is stored: the one before. The same secret again
 * keeps the fallback that there is, or a repeated rotation would end it.
 */
export function fallbackOf(
  { connection, credential }: Before,
  next: { readonly connection: Connection; readonly credential: StoredCredential },
  { known, until, now }: { known: FallbackCredential | undefined; until: Date | undefined; now: Date },
): FallbackCredential | undefined {
  if (until === undefined || credential === undefined) return undefined;
  // Revoked with the change, and of no use.
  if (credential.principalKeyId !== undefined || connection.recipe.method.type === "oauth2") return undefined;
  const isSame =
    credential.fingerprint === next.credential.fingerprint &&
    isDeepStrictEqual(connection.params, next.connection.params);
  const fallback = isSame
    ? known
    : { ...credential, recipe: connection.recipe, params: connection.params, validUntil: until };
  if (fallback === undefined || fallback.validUntil <= now) return undefined;
  if (isWithin(next.credential.boundTo, fallback.boundTo)) return fallback;
  throw new InvalidRequest(
    "fallbackSeconds: the previous credential goes only to the base URL that it was stored for; leave it out",
  );
}
