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
  /** Undefined if nothing was; without asking the database if the text cannot be a key. */
  find(secret: string, options?: FindOptions): Promise<PresentedKey | undefined>;
}

/** How a secret is looked up. */
export interface FindOptions {
  /** Asks the database, whatever is remembered. */
  readonly strong?: boolean;
  /** Runs first, and may throw, unless the secret is known: whoever presents it may be guessing. */
  readonly beforeGuess?: (() => Promise<void>) | undefined;
  /** The organisation that asks, where that is known: its flood of questions waits in its own queue. */
  readonly askedBy?: string;
}

/** How long an answer of the database is good, however it is told that nothing changed: no revocation takes longer. */
export const boundMs = 5_000;
/** A key that nobody has is unknown for so long; an import ends that at once. */
const unknownMs = 2_000;
/** A key with all the scopes and notes that it may have takes some tens of kilobytes. */
const maxRemembered = 10_000;

/** What the database said of a secret. */
interface Remembered {
  readonly key: PresentedKey | undefined;
  /** When the look-up began, by the monotonic clock. */
  readonly askedAt: number;
  /** How many changes had been announced by then. What changed meanwhile may have been read as it was before. */
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
  // Of no key, or of one that was revoked. Apart from the good ones, or a flood of made-up keys would push those out;
  // together, so that no answer comes sooner for a key that once was than for one that never was.
  const refused = new LRUCache<string, Remembered>({ max: maxRemembered });
  const loading = new Map<string, Loading>();
  /** At which epoch each key changed last, by the name that announcements call it. */
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
      // What an import meanwhile would have announced. In doubt, legacy keys are looked up.
      askForImports().catch(() => (importsExist = true));
    },
  });
  await askForImports();

  /** Whether nothing that was announced since then concerns the key. */
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
    } else known.set(id, { key, ...asked });
    return key;
  }

  /** One question at a time for each secret; but none that began before a change answers one that came after. */
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
      if (environmentOf(secret) === undefined && !(importsExist && mayBeImported(secret, legacyPrefixes))) {
        await beforeGuess?.();
        return undefined;
      }
      const id = hash("sha256", secret);
      const now = monotonicNow();
      const found = remembered(id, now);
      if (found !== undefined && !strong) return found.key;
      if (found === undefined) await beforeGuess?.();
      if (strong) return ask(secret, id, askedBy);
      const lately = refused.get(id);
      // Any change may have made it good.
      if (lately?.epoch === epoch && now - lately.askedAt < unknownMs) return lately.key;
      return askOnce(secret, id, askedBy);
    },
  };
}
