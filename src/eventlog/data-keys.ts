import { createSecretKey, randomBytes, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { Secret } from "#src/platform/secret.ts";
import { LogNotFound } from "./errors.ts";
import { findHead, findSealedKey, type LogHead } from "./store.ts";

const keyBytes = 32;
/** A deleted log's key is forgotten once that is announced; after this at the latest. */
const cacheMs = 5 * 60 * 1000;

/** The keys that logs' data is sealed with. */
export interface DataKeys {
  /** The key of a channel's log. Throws LogNotFound. */
  keyOf(orgId: string, log: string): Promise<KeyObject>;
  /** The same if it is known, without a question. */
  knownKey(orgId: string, log: string): KeyObject | undefined;
  /** A new log's key, sealed for its head. */
  newKey(
    sealer: Sealer,
    tx: Tx,
    orgId: string,
    log: string,
  ): Promise<Pick<LogHead, "sealedKey" | "kekVersion">>;
  /** Of one log, by `<org>/<log>`, or of all. */
  forget(name?: string): void;
}

/** One key for each log, sealed by its organisation's own key: deleting the log's head makes its data unreadable. */
export function createDataKeys(parts: {
  database: Pick<Database, "read">;
  keyring: Pick<Keyring, "open">;
}): DataKeys {
  const { database, keyring } = parts;
  const known = new LRUCache<string, KeyObject>({ max: 10_000, ttl: cacheMs });
  let forgotten = 0;

  return {
    knownKey: (orgId, log) => known.get(`${orgId}/${log}`),
    async keyOf(orgId, log) {
      const name = `${orgId}/${log}`;
      const cached = known.get(name);
      if (cached !== undefined) return cached;
      const before = forgotten;
      const found = await database.read(orgId, async (tx) => {
        const head = await findHead(tx, orgId, log);
        return head && (await findSealedKey(tx, head));
      });
      if (found === undefined) throw new LogNotFound();
      using secret = await keyring.open(ownerOf(orgId, log), found.sealed, found.wrapped);
      const key = createSecretKey(secret.reveal());
      // The log may have ended since it was asked for.
      if (forgotten === before) known.set(name, key);
      return key;
    },
    async newKey(sealer, tx, orgId, log) {
      using secret = new Secret(randomBytes(keyBytes));
      const { bytes, kekVersion } = await sealer.seal(tx, ownerOf(orgId, log), secret);
      return { sealedKey: bytes, kekVersion };
    },
    forget(name) {
      forgotten += 1;
      if (name === undefined) known.clear();
      else known.delete(name);
    },
  };
}

function ownerOf(orgId: string, log: string) {
  return { orgId, kind: "log", id: log, version: 1 } as const;
}
