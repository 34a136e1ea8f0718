import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
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

/** How long an answer of the database is good, even if no change is announced: no revocation takes longer. */
export const boundMs = 5_000;
/** How long an unknown key is remembered as unknown; an import ends that at once. */
const unknownMs = 2_000;
/** A key with the most scopes and metadata that it may have takes some tens of kilobytes. */
const maxRemembered = 10_000;

/** The database's answer for a secret. */
interface Remembered {
  readonly key: PresentedKey | undefined;
  /** When the look-up began, by the monotonic clock. */
  readonly askedAt: number;
  /** How many changes had been announced by then. The answer may lack any later change. */
  readonly epoch: number;
}

interface Known extends Remembered {
  readonly key: PresentedKey;
}

interface Loading {
  readonly epoch: number;
  readonly key: Promise<PresentedKey | undefined>;
}

/**
 * Remembers what the database says of presented secrets, until a change of the key is announced, and never longer
 * than `boundMs`: so a dead notification channel delays a revocation, and cannot prevent it. Whether a key is good
 * here and now is not remembered, but decided each time. No secret is kept, only its hash.
 */
export async function createKeyLookup(parts: {
  database: Database;
  pepper: Pepper;
  environment: Environment;
  legacyPrefixes: readonly string[];
  monotonicNow: () => number;
}): Promise<KeyLookup> {
  const { database, pepper, environment, legacyPrefixes, monotonicNow } = parts;
  const known = new LRUCache<string, Known>({ max: maxRemembered });
  // Unknown and revoked secrets. Apart from the good ones, or a flood of made-up keys would push the good ones out;
  // together, so that a revoked key is not answered sooner than one that never existed.
  const refused = new LRUCache<string, Remembered>({ max: maxRemembered });
  /** By what each answer is remembered: to hash a secret again costs more than to look at its answer. */
  const ids = new WeakMap<PresentedKey, string>();
  const loading = new Map<string, Loading>();
  /** The epoch of each key's last change, by the key's name in announcements. */
  const changes = new Map<string, number>();
  let epoch = 0;
  let forgottenAt = 0;
  let importsExist = false;

  async function askForImports(): Promise<void> {
    importsExist ||= await database.single((tx) => importedKeysExist(tx, environment));
  }

  function forgetAll(): void {
    epoch += 1;
    forgottenAt = epoch;
    known.clear();
    refused.clear();
    changes.clear();
  }

  await database.listen({
    notified(what) {
      if (what === `import/${environment}`) importsExist = true;
      if (changes.size >= maxRemembered) forgetAll();
      epoch += 1;
      changes.set(what, epoch);
    },
    listening(isListening) {
      if (!isListening) return;
      forgetAll();
      // An import may have been announced meanwhile, unheard. In doubt, legacy keys are looked up.
      askForImports().catch(() => (importsExist = true));
    },
  });
  await askForImports();

  /** Whether no change that was announced since then concerns the key. */
  function isUnchanged(key: PresentedKey, since: number): boolean {
    return since >= forgottenAt && (changes.get(`key/${key.orgId}/${key.id}`) ?? 0) <= since;
  }

  function remembered(id: string, now: number): Known | undefined {
    const found = known.get(id);
    if (found === undefined) return undefined;
    if (now - found.askedAt < boundMs && isUnchanged(found.key, found.epoch)) return found;
    known.delete(id);
    return undefined;
  }

  async function ask(secret: string, id: string, askedBy?: string): Promise<PresentedKey | undefined> {
    const asked = { askedAt: monotonicNow(), epoch };
    const hashes = { peppered: pepper(secret), plain: Buffer.from(id, "hex") };
    const key = await database.single((tx) => findPresented(tx, hashes), askedBy);
    if (key === undefined || key.revokedAt !== undefined) {
      known.delete(id);
      refused.set(id, { key, ...asked });
    } else {
      known.set(id, { key, ...asked });
      ids.set(key, id);
    }
    return key;
  }

  /** One look-up at a time for each secret; but one that began before a change answers no call that came after it. */
  function askOnce(secret: string, id: string, askedBy?: string): Promise<PresentedKey | undefined> {
    const running = loading.get(id);
    if (running?.epoch === epoch) return running.key;
    const started: Loading = {
      epoch,
      key: ask(secret, id, askedBy).finally(() => {
        if (loading.get(id) === started) loading.delete(id);
      }),
    };
    loading.set(id, started);
    return started.key;
  }

  return {
    async find(presented, { strong = false, beforeGuess, askedBy } = {}) {
      const secret = secretText(presented);
      const id = hash("sha256", secret);
      const now = monotonicNow();
      const found = remembered(id, now);
      if (found !== undefined && !strong) return found.key;
      if (found === undefined) await beforeGuess?.();
      if (environmentOf(secret) === undefined && !(importsExist && mayBeImported(secret, legacyPrefixes))) {
        return undefined;
      }
      if (strong) return ask(secret, id, askedBy);
      const lately = refused.get(id);
      // Any change may have made it good.
      if (lately?.epoch === epoch && now - lately.askedAt < unknownMs) return lately.key;
      return askOnce(secret, id, askedBy);
    },

    recall: (presented) => remembered(hash("sha256", secretText(presented)), monotonicNow())?.key,

    recalls(key) {
      const id = ids.get(key);
      return id !== undefined && remembered(id, monotonicNow())?.key === key;
    },
  };
}
