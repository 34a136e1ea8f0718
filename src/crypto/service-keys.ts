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

/** The root key is not the one that wrapped the keys of this database. */
class WrongRootKey extends Error {
  override readonly name = "WrongRootKey";

  constructor(given: string, needed: string) {
    super(
      `the root key (${given}) does not open this database, which needs ${needed}; ` +
        "set PATCHBAY_ROOT_KEY, PATCHBAY_ROOT_KEY_FILE or PATCHBAY_ROOT_KEY_URL to that key; to replace it by this one, " +
        "give it as PATCHBAY_SECOND_ROOT_KEY, or by its _FILE or _URL",
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
  const bytes = await loadServiceKey("pepper", { database, rootKey, secondRootKey, now });
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return hmacWith(key);
}

type ServiceKey = typeof serviceKeys.$inferSelect;
type Purpose = ServiceKey["purpose"];

/** 32 random bytes of this database, made when they are first asked for, in a Buffer that the caller wipes. */
export async function loadServiceKey(
  purpose: Purpose,
  parts: { database: Database; now: () => Date } & RootKeyParts,
): Promise<Buffer> {
  const { database, rootKey, now } = parts;
  const stored =
    (await database.system((tx) => find(tx, purpose))) ?? (await make(purpose, database, rootKey, now()));
  try {
    return await rootKeyNamed(stored.rootKeyId, parts).unwrap(stored.wrappedKey, serviceKeyContext(stored));
  } catch (error) {
    const isWrong = error instanceof SealBroken || error instanceof RootKeyMissing;
    if (isWrong) throw new WrongRootKey(rootKey.id, stored.rootKeyId);
    throw error;
  }
}

/** What the root key authenticates with a key of the deployment: it unwraps as no other. */
export function serviceKeyContext({ purpose, version }: Pick<ServiceKey, "purpose" | "version">): string[] {
  return [purpose, String(version)];
}

async function make(purpose: Purpose, database: Database, rootKey: RootKey, createdAt: Date) {
  const key = { purpose, version: 1 };
  const fresh = randomBytes(32);
  const wrappedKey = await rootKey.wrap(fresh, serviceKeyContext(key)).finally(() => fresh.fill(0));
  return database.system(async (tx) => {
    // Replicas that start together all insert; the key of the first one is used by all.
    await tx
      .insert(serviceKeys)
      .values({ ...key, wrappedKey, rootKeyId: rootKey.id, createdAt })
      .onConflictDoNothing();
    const stored = await find(tx, purpose);
    if (stored === undefined) throw new Error(`the key ${purpose} was stored and cannot be read back`);
    return stored;
  });
}

async function find(tx: Tx, purpose: Purpose): Promise<ServiceKey | undefined> {
  const [row] = await tx
    .select()
    .from(serviceKeys)
    .where(and(eq(serviceKeys.purpose, purpose), eq(serviceKeys.version, 1)));
  return row;
}

// A KeyObject, because createHmac with a Buffer key costs six times as much.
function hmacWith(key: KeyObject): Pepper {
  return (secret) => createHmac("sha256", key).update(secret, "utf8").digest();
}
