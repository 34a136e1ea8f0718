import { createSecretKey, randomBytes, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
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
  /** Of all logs of a shredded organisation. */
  forgetOrganization(orgId: string): void;
}

/** One key for each log, sealed by its organisation's own key: deleting the log's head makes its data unreadable. */
export function createDataKeys(parts: {
  database: Pick<Database, "read">;
  keyring: Pick<Keyring, "open">;
}): DataKeys {
  const { database, keyring } = parts;
  const known = new LRUCache<string, KeyObject>({ ...upTo(10_000), ttl: cacheMs });
  /** After a start, hundreds may need the same one at once. */
  const opening = new Map<string, Promise<KeyObject>>();

  async function openKey(orgId: string, log: string): Promise<KeyObject> {
    const found = await database.read(orgId, async (tx) => {
      const head = await findHead(tx, orgId, log);
      return head && (await findSealedKey(tx, head));
    });
    if (found === undefined) throw new LogNotFound();
    using secret = await keyring.open(ownerOf(orgId, log), found.sealed, found.wrapped);
    return createSecretKey(secret.reveal());
  }

  return {
    knownKey: (orgId, log) => known.get(`${orgId}/${log}`),
    async keyOf(orgId, log) {
      const name = `${orgId}/${log}`;
      const cached = known.get(name) ?? opening.get(name);
      if (cached !== undefined) return cached;
      const opened = openKey(orgId, log);
      opening.set(name, opened);
      try {
        const key = await opened;
        // Otherwise the log has ended since it was asked for.
        if (opening.get(name) === opened) known.set(name, key);
        return key;
      } finally {
        if (opening.get(name) === opened) opening.delete(name);
      }
    },
    async newKey(sealer, tx, orgId, log) {
      using secret = new Secret(randomBytes(keyBytes));
      const { bytes, kekVersion } = await sealer.seal(tx, ownerOf(orgId, log), secret);
      return { sealedKey: bytes, kekVersion };
    },
    forget(name) {
      for (const names of [known, opening]) {
        if (name === undefined) names.clear();
        else names.delete(name);
      }
    },
    forgetOrganization(orgId) {
      for (const names of [known, opening]) {
        for (const name of [...names.keys()]) if (name.startsWith(`${orgId}/`)) names.delete(name);
      }
    },
  };
}

/** The record that the key of a log is sealed for. */
export function ownerOf(orgId: string, log: string) {
  return { orgId, kind: "log", id: log, version: 1 } as const;
}
