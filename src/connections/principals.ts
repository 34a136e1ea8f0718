import type { NewAuditEvent } from "#src/audit/append.ts";
import type { Tx } from "#src/db/database.ts";
import type { Caller, Scope } from "#src/platform/caller.ts";
import type { Secret } from "#src/platform/secret.ts";

/**
 * Issues and ends service principals: API keys that are the credential of one connection and shown to nobody.
 *
 * The events are for the caller to append when it has changed everything else: an append locks the record of the
 * organisation, and whoever locked a key after that could wait for one who waits for the record.
 */
export interface Principals {
  /**
   * A new key for the service. Throws if the scopes are none, or more than the caller may give. It has the rate
   * limit of the one that it comes after, if there was one.
   */
  issue(tx: Tx, caller: Caller, wanted: WantedPrincipal): Promise<IssuedPrincipal>;
  /** Ends the key. No event is due if it was ended before. */
  revoke(tx: Tx, scope: Scope, keyId: string): Promise<NewAuditEvent | undefined>;
  /** The service that may present the key, which the key alone knows: the deployment's may have been renamed. */
  callerServiceOf(tx: Tx, scope: Scope, keyId: string): Promise<string>;
}

/** What a new key is for. */
export interface WantedPrincipal {
  readonly serviceSlug: string;
  readonly scopes: readonly string[];
  /** The key of the connection until now. */
  readonly after: string | undefined;
}

/** A key that was issued in this transaction. */
export interface IssuedPrincipal {
  readonly keyId: string;
  readonly secret: Secret;
  readonly event: NewAuditEvent;
}
