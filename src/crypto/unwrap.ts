import { createSecretKey, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Log } from "#src/platform/log.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { within } from "#src/platform/within.ts";
import { KeyDestroyed, RootKeyUnavailable } from "./errors.ts";
import { wrapContext, type StoredKey, type WrappedKey } from "./org-keys.ts";
import { rootKeyNamed, type RootKeyParts } from "./named-root-key.ts";
import { SealBroken } from "./seal.ts";

/** Unwraps the keys of organisations, and remembers them for a while. */
export interface Unwrap {
  /** It may take seconds, so no transaction waits for it. Throws KeyDestroyed. */
  readonly unwrap: (wrapped: WrappedKey) => Promise<KeyObject>;
  /** Of one key, by `<org>/<version>`, or of all: it may be destroyed. */
  readonly forget: (name?: string) => void;
}

/** A destroyed key must stop opening secrets soon, also where it is cached. */
const cacheMs = 5 * 60 * 1000;
/** A call waits at most this long. The root key may take longer: its answer then serves later calls. */
const waitMs = 5_000;
/** A root key that has not answered by then never will: the next call asks it again. */
const hungMs = 60_000;
/** A root key that failed is asked again only after this pause, however many calls come. */
const pauseMs = 1_000;

/** A key, and the bytes that it was unwrapped from: other bytes are another question. */
interface Unwrapped {
  readonly from: Buffer;
  readonly key: KeyObject;
}

/** Asks the root key once at a time for each key, and keeps the answer. A slow one holds up only its organisation. */
export function createUnwrap(
  parts: RootKeyParts & {
    /** How the key is stored now. */
    readonly findKey: (orgId: string, version: number) => Promise<StoredKey | undefined>;
    readonly log: Log;
  },
): Unwrap {
  const { findKey, log } = parts;
  const unwrapped = new LRUCache<string, Unwrapped>({ max: 10_000, ttl: cacheMs, ttlAutopurge: true });
  const asking = new Map<string, Promise<KeyObject>>();

  async function ask({ orgId, version, wrappedKey }: WrappedKey): Promise<KeyObject> {
    const slow = setTimeout(
      () =>
        log.warn({ orgId }, "the root key is slow to unwrap an organisation's key; its calls are refused"),
      waitMs,
    ).unref();
    try {
      const stored = await findKey(orgId, version);
      if (stored === undefined || stored.isShredded) throw new KeyDestroyed();
      // Destroyed once all was sealed anew: a call that read before that has the bytes, and what they open.
      const wrapped = stored.wrappedKey ?? wrappedKey;
      const bytes = await rootKeyNamed(stored.rootKeyId, parts).unwrap(
        wrapped,
        wrapContext({ orgId, version }),
      );
      const key = createSecretKey(bytes);
      bytes.fill(0);
      return key;
    } finally {
      clearTimeout(slow);
    }
  }

  async function askOnce(wrapped: WrappedKey): Promise<KeyObject> {
    try {
      return await within(hungMs, ask(wrapped), () => silentFor(hungMs));
    } catch (error) {
      // Trying again would not help: the wrapped key was changed, or is another organisation's.
      if (error instanceof SealBroken) throw error;
      const isOfRootKey = error instanceof RootKeyUnavailable;
      if (error instanceof ServiceError && !isOfRootKey) throw error;
      log.warn({ err: error, orgId: wrapped.orgId }, "the root key did not unwrap an organisation's key");
      if (isOfRootKey) throw error;
      throw new RootKeyUnavailable(error);
    }
  }

  function begin(id: string, wrapped: WrappedKey): Promise<KeyObject> {
    const asked = askOnce(wrapped);
    asking.set(id, asked);
    const end = () => void (asking.get(id) === asked && asking.delete(id));
    asked.then(
      (key) => {
        // Otherwise it was to be forgotten since it was asked for.
        if (asking.get(id) === asked) unwrapped.set(id, { from: wrapped.wrappedKey, key });
        end();
      },
      () => setTimeout(end, pauseMs).unref(),
    );
    return asked;
  }

  return {
    unwrap: async (wrapped) => {
      const id = `${wrapped.orgId}/${wrapped.version}`;
      const known = unwrapped.get(id);
      if (known?.from.equals(wrapped.wrappedKey) === true) return known.key;
      return within(waitMs, asking.get(id) ?? begin(id, wrapped), () => silentFor(waitMs));
    },
    forget(name) {
      for (const names of [unwrapped, asking]) {
        if (name === undefined) names.clear();
        else names.delete(name);
      }
    },
  };
}

/** A root key that takes longer. */
function silentFor(milliseconds: number): RootKeyUnavailable {
  return new RootKeyUnavailable(new Error(`no answer in ${milliseconds} ms`));
}
