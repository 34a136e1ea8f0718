import type { Database, Tx } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { Secret } from "#src/platform/secret.ts";
import { KeyDestroyed } from "./errors.ts";
import { currentKey, findStoredKey, holdCurrentVersion } from "./org-keys.ts";
import type { RootKeyParts } from "./named-root-key.ts";
import { open, seal } from "./seal.ts";
import { createUnwrap } from "./unwrap.ts";

/** The record that a secret belongs to. All fields are authenticated: sealed bytes open only for the same record. */
export interface SealOwner {
  readonly orgId: string;
  readonly kind:
    | "connection"
    | "oauth-client"
    | "oauth-flow"
    | "log"
    | "channel-secret"
    | "endpoint-secret"
    | "endpoint-header";
  readonly id: string;
  /** Counts up with each new secret of the owner, so that an old one cannot be put back. */
  readonly version: number;
}

/** A sealed secret and the key version that opens it. */
export interface Sealed {
  readonly kekVersion: number;
  readonly bytes: Buffer;
}

/**
 * Seals an organisation's secrets under its own key, which the root key wraps. The root key may be a service that
 * takes seconds to answer, so it is asked before a transaction or after it, and never inside.
 */
export interface Keyring {
  /** Runs the change with a sealer of the organisation's secrets; again, if its key is replaced meanwhile. */
  sealing<T>(orgId: string, change: (sealer: Sealer) => Promise<T>): Promise<T>;
  /**
   * The secret, which the caller wipes. `wrapped` is the key of the version that it was sealed with, null if that was
   * destroyed. Throws KeyDestroyed.
   */
  open(owner: SealOwner, sealed: Sealed, wrapped: Buffer | null): Promise<Secret>;
}

/** Seals secrets of one organisation, inside a transaction. */
export interface Sealer {
  seal(tx: Tx, owner: SealOwner, secret: Secret): Promise<Sealed>;
}

/** The organisation has a newer key than the sealer. */
class KeyReplaced extends Error {
  override readonly name = "KeyReplaced";
}

/** Replaced that many times while one change is tried, a key is replaced by something that runs wild. */
const attempts = 5;

export function createKeyring(
  parts: { database: Database; log: Log; monotonicNow?: () => number } & RootKeyParts,
): Keyring {
  const { database } = parts;
  const { unwrap, forget } = createUnwrap({
    ...parts,
    findKey: (orgId, version) => database.read(orgId, (tx) => findStoredKey(tx, orgId, version)),
  });
  void database.listen({
    notified(what) {
      if (what.startsWith("org-key/")) forget(what.slice("org-key/".length));
    },
    // What was destroyed meanwhile was not heard of, and opens nothing: whoever opens has read that it is. To forget all
    // would ask the root key for all at once, whenever the database was away.
    listening() {},
  });

  async function sealerOf(orgId: string): Promise<Sealer> {
    const current = await database.read(orgId, (tx) => currentKey(tx, orgId));
    const key = await unwrap(current);
    return {
      async seal(tx, owner, secret) {
        const version = await holdCurrentVersion(tx);
        if (version !== current.version) throw new KeyReplaced();
        return { kekVersion: version, bytes: seal(key, secret.reveal(), ownerContext(owner, version)) };
      },
    };
  }

  return {
    async sealing(orgId, change) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await change(await sealerOf(orgId));
        } catch (error) {
          if (!(error instanceof KeyReplaced) || attempt === attempts) throw error;
        }
      }
    },

    // By version, never by trying keys: one that opens something it should not would hide a fault.
    async open(owner, { kekVersion, bytes }, wrapped) {
      if (wrapped === null || wrapped.length === 0) throw new KeyDestroyed();
      const { orgId } = owner;
      const key = await unwrap({ orgId, version: kekVersion, wrappedKey: wrapped });
      return new Secret(open(key, bytes, ownerContext(owner, kekVersion)));
    },
  };
}

/** What is authenticated with sealed bytes: the record that they belong to, and the version of the key. */
export function ownerContext(owner: SealOwner, kekVersion: number): string[] {
  return [owner.orgId, owner.kind, owner.id, String(kekVersion), String(owner.version)];
}
