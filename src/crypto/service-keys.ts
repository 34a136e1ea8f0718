import { createHmac, createSecretKey, randomBytes, type KeyObject } from "node:crypto";
import { and, eq } from "#src/db/drizzle.cjs";
import type { Database, Tx } from "#src/db/database.ts";
import { RootKeyMissing } from "./errors.ts";
import type { RootKey } from "./root-key.ts";
import { rootKeyNamed, type RootKeyParts } from "./named-root-key.ts";
import { serviceKeys } from "./schema.ts";
import { SealBroken } from "./seal.ts";

/** Hashes a presented key for look-up, so that whoever reads the database has no key to present. */
export type Pepper = (secret: string) => Buffer;

/** The root key is not the one that this database was set up with. */
class WrongRootKey extends Error {
  override readonly name = "WrongRootKey";

  constructor(given: string, needed: string) {
    super(
      `the root key (${given}) does not open this database, which was set up with ${needed}; ` +
        "set PATCHBAY_ROOT_KEY or PATCHBAY_ROOT_KEY_FILE to that key",
    );
  }
}

/**
 * The pepper of this database, made on the very first start.
 *
 * It doubles as the canary: it is opened before anything is served, so a wrong root key stops the start
 * instead of failing each call later.
 */
export async function loadPepper(
  database: Database,
  rootKey: RootKey,
  now: () => Date,
  secondRootKey?: RootKey,
): Promise<Pepper> {
  const stored = (await database.system(findPepper)) ?? (await makePepper(database, rootKey, now()));
  return hmacWith(await unwrapPepper({ rootKey, secondRootKey }, stored));
}

/** What the root key authenticates with a key of the deployment: it unwraps as no other. */
export function serviceKeyContext({ purpose, version }: Pick<ServiceKey, "purpose" | "version">): string[] {
  return [purpose, String(version)];
}

type ServiceKey = typeof serviceKeys.$inferSelect;

async function makePepper(database: Database, rootKey: RootKey, createdAt: Date) {
  const fresh = randomBytes(32);
  const wrappedKey = await rootKey.wrap(fresh, serviceKeyContext({ purpose: "pepper", version: 1 }));
  fresh.fill(0);
  return database.system(async (tx) => {
    // Replicas that start together all insert; the pepper of the first one is used by all.
    await tx
      .insert(serviceKeys)
      .values({ purpose: "pepper", version: 1, wrappedKey, rootKeyId: rootKey.id, createdAt })
      .onConflictDoNothing();
    const stored = await findPepper(tx);
    if (stored === undefined) throw new Error("the pepper was stored and cannot be read back");
    return stored;
  });
}

async function findPepper(tx: Tx) {
  const [row] = await tx
    .select()
    .from(serviceKeys)
    .where(and(eq(serviceKeys.purpose, "pepper"), eq(serviceKeys.version, 1)));
  return row;
}

async function unwrapPepper(rootKeys: RootKeyParts, stored: ServiceKey): Promise<KeyObject> {
  try {
    const rootKey = rootKeyNamed(stored.rootKeyId, rootKeys);
    const bytes = await rootKey.unwrap(stored.wrappedKey, serviceKeyContext(stored));
    const key = createSecretKey(bytes);
    bytes.fill(0);
    return key;
  } catch (error) {
    const isWrong = error instanceof SealBroken || error instanceof RootKeyMissing;
    if (isWrong) throw new WrongRootKey(rootKeys.rootKey.id, stored.rootKeyId);
    throw error;
  }
}

// A KeyObject, because createHmac with a Buffer key costs six times as much.
function hmacWith(key: KeyObject): Pepper {
  return (secret) => createHmac("sha256", key).update(secret, "utf8").digest();
}
