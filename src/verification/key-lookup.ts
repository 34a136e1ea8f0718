import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import { createRecent, maxRemembered, type Moment } from "#src/db/recent.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import { findPresented, importedKeysExist } from "#src/api-keys/presented-key.ts";
import { environmentOf, mayBeImported, secretText } from "#src/api-keys/secret-format.ts";

/** Says what presented secrets were issued for. */
export interface KeyLookup {
  /** Undefined if it was issued for nothing. A text that cannot be a key is not looked up in the database. */
  find(secret: string, options?: FindOptions): Promise<PresentedKey | undefined>;
  /** What `find` would answer without asking the database; undefined if it would have to ask. */
  recall(secret: string): PresentedKey | undefined;
  /** How often an answer was remembered, and how often the database was asked, since the start. */
  readonly counts: { readonly remembered: number; readonly asked: number };
  /** Whether the key, as it was answered, is still what `find` would answer without asking the database. */
  recalls(key: PresentedKey): boolean;
}

/** How a secret is looked up. */
export interface FindOptions {
  /** Asks the database, whatever is remembered. */
  readonly strong?: boolean;
  /** Runs first, and may throw, unless the secret is known: the client may be guessing. */
  readonly beforeGuess?: (() => Promise<void>) | undefined;
  /** The organisation that asks, if it is known: a flood of its look-ups waits in its own queue. */
  readonly askedBy?: string;
}

/** How long an unknown key is remembered as unknown; an import ends that at once. */
const unknownMs = 2_000;

/** A secret that is good for nothing: unknown, or revoked. */
interface Refused {
  readonly key: PresentedKey | undefined;
  readonly asked: Moment;
}

/**
 * Remembers what the database says of presented secrets. Whether a key is good here and now is not remembered, but
 * decided each time. No secret is kept, only its hash.
 */
export async function createKeyLookup(parts: {
  database: Database;
  pepper: Pepper;
  environment: Environment;
  legacyPrefixes: readonly string[];
  monotonicNow: () => number;
}): Promise<KeyLookup> {
  const { database, pepper, environment, legacyPrefixes, monotonicNow } = parts;
  // A key with the most scopes, metadata and rights that it may have takes some tens of kilobytes.
  const known = await createRecent<PresentedKey>({
    database,
    // An import may make an unknown secret good; a shredded organisation has no key that is.
    kinds: ["key", "import", "organization"],
    dependsOn: (key) => [`key/${key.orgId}/${key.id}`, `organization/${key.orgId}`],
    monotonicNow,
  });
  // Unknown and revoked secrets. Apart from the good ones, or a flood of made-up keys would push the good ones out;
  // together, so that a revoked key is not answered sooner than one that never existed.
  const refused = new LRUCache<string, Refused>(upTo(maxRemembered));
  /** By what each answer is remembered: to hash a secret again costs more than to look at its answer. */
  const ids = new WeakMap<PresentedKey, string>();
  let importsExist = false;
  const counts = { remembered: 0, asked: 0 };

  async function askForImports(): Promise<void> {
    importsExist ||= await database.single((tx) => importedKeysExist(tx, environment));
  }

  await database.listen({
    notified(what) {
      if (what === `import/${environment}`) importsExist = true;
    },
    listening(isListening) {
      // An import may have been announced meanwhile, unheard. In doubt, legacy keys are looked up.
      if (isListening) askForImports().catch(() => (importsExist = true));
    },
  });
  await askForImports();

  async function ask(secret: string, id: string, askedBy?: string): Promise<PresentedKey | undefined> {
    counts.asked += 1;
    const asked = known.moment();
    const hashes = { peppered: pepper(secret), plain: Buffer.from(id, "hex") };
    const key = await database.single((tx) => findPresented(tx, hashes), askedBy);
    if (key === undefined || key.revokedAt !== undefined) {
      known.forget(id);
      refused.set(id, { key, asked });
    } else {
      known.remember(id, key, asked);
      ids.set(key, id);
    }
    return key;
  }

  function recall(id: string): PresentedKey | undefined {
    const found = known.recall(id);
    if (found !== undefined) counts.remembered += 1;
    return found;
  }

  return {
    counts,

    async find(presented, { strong = false, beforeGuess, askedBy } = {}) {
      const secret = secretText(presented);
      const id = hash("sha256", secret);
      const found = strong ? known.recall(id) : recall(id);
      if (found !== undefined && !strong) return found;
      if (found === undefined) await beforeGuess?.();
      if (environmentOf(secret) === undefined && !(importsExist && mayBeImported(secret, legacyPrefixes))) {
        return undefined;
      }
      if (strong) return ask(secret, id, askedBy);
      const lately = refused.get(id);
      // Any change may have made it good.
      if (lately && known.isLatest(lately.asked) && monotonicNow() - lately.asked.at < unknownMs) {
        counts.remembered += 1;
        return lately.key;
      }
      return known.askOnce(id, () => ask(secret, id, askedBy));
    },

    recall: (presented) => recall(hash("sha256", secretText(presented))),

    recalls(key) {
      const id = ids.get(key);
      return id !== undefined && known.recall(id) === key;
    },
  };
}
