import { createSecretKey, randomBytes, type KeyObject } from "node:crypto";
import { and, desc, eq, isNotNull } from "drizzle-orm";
import { LRUCache } from "lru-cache";
import type { Tx } from "#src/db/database.ts";
import { Secret } from "#src/platform/secret.ts";
import type { RootKey } from "./root-key.ts";
import { orgKeys } from "./schema.ts";
import { open, seal } from "./seal.ts";

/** Whose secret it is. All of it is authenticated: sealed bytes open only as the record they were made for. */
export interface SealOwner {
  readonly orgId: string;
  readonly kind: "connection";
  readonly id: string;
  /** Counts up with each new secret of the owner, so that an old one cannot be put back. */
  readonly version: number;
}

/** A sealed secret and the key version that opens it. */
export interface Sealed {
  readonly kekVersion: number;
  readonly bytes: Buffer;
}

/** Seals an organisation's secrets under its own key, which the root key wraps. */
export interface Keyring {
  /** Makes the organisation's first key. */
  createKey(tx: Tx, orgId: string): Promise<void>;
  seal(tx: Tx, owner: SealOwner, secret: Secret): Promise<Sealed>;
  open(tx: Tx, owner: SealOwner, sealed: Sealed): Promise<Secret>;
}

const kekBytes = 32;
/** A destroyed key must stop opening secrets soon, also where it is cached. */
const cacheMs = 5 * 60 * 1000;

export function createKeyring(rootKey: RootKey, now: () => Date): Keyring {
  const cache = new LRUCache<string, KeyObject>({ max: 10_000, ttl: cacheMs });

  async function createKey(tx: Tx, orgId: string) {
    const kek = randomBytes(kekBytes);
    const wrappedKey = await rootKey.wrap(kek, kekContext(orgId, 1));
    kek.fill(0);
    await tx
      .insert(orgKeys)
      .values({ orgId, purpose: "kek", version: 1, wrappedKey, rootKeyId: rootKey.id, createdAt: now() });
  }

  async function currentVersion(tx: Tx, orgId: string): Promise<number> {
    const [row] = await tx
      .select({ version: orgKeys.version })
      .from(orgKeys)
      .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek"), isNotNull(orgKeys.wrappedKey)))
      .orderBy(desc(orgKeys.version))
      .limit(1);
    if (row === undefined) throw new Error(`organisation ${orgId} has no key to seal with`);
    return row.version;
  }

  // By version, never by trying: a key that happens to open something it should not would hide a fault.
  async function kek(tx: Tx, orgId: string, version: number): Promise<KeyObject> {
    const cached = cache.get(`${orgId}/${version}`);
    if (cached !== undefined) return cached;
    const [row] = await tx
      .select({ wrappedKey: orgKeys.wrappedKey })
      .from(orgKeys)
      .where(and(eq(orgKeys.orgId, orgId), eq(orgKeys.purpose, "kek"), eq(orgKeys.version, version)));
    if (row?.wrappedKey == null) throw new Error(`key ${version} of organisation ${orgId} is gone`);
    const bytes = await rootKey.unwrap(row.wrappedKey, kekContext(orgId, version));
    const key = createSecretKey(bytes);
    bytes.fill(0);
    cache.set(`${orgId}/${version}`, key);
    return key;
  }

  return {
    createKey,
    async seal(tx, owner, secret) {
      const kekVersion = await currentVersion(tx, owner.orgId);
      const key = await kek(tx, owner.orgId, kekVersion);
      return { kekVersion, bytes: seal(key, secret.reveal(), ownerContext(owner, kekVersion)) };
    },
    async open(tx, owner, sealed) {
      const key = await kek(tx, owner.orgId, sealed.kekVersion);
      return new Secret(open(key, sealed.bytes, ownerContext(owner, sealed.kekVersion)));
    },
  };
}

function kekContext(orgId: string, version: number): string[] {
  return ["kek", orgId, String(version)];
}

function ownerContext(owner: SealOwner, kekVersion: number): string[] {
  return [owner.orgId, owner.kind, owner.id, String(kekVersion), String(owner.version)];
}
