import { createSecretKey, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Log } from "#src/platform/log.ts";
import { within } from "#src/platform/within.ts";
import { RootKeyUnavailable } from "./errors.ts";
import { wrapContext, type WrappedKey } from "./org-keys.ts";
import type { RootKey } from "./root-key.ts";
import { SealBroken } from "./seal.ts";

/** Unwraps an organisation's key. It may take seconds, so no transaction waits for it. */
export type Unwrap = (wrapped: WrappedKey) => Promise<KeyObject>;

/** A destroyed key must stop opening secrets soon, also where it is cached. */
const cacheMs = 5 * 60 * 1000;
/** A call waits at most this long. The root key may take longer: its answer then serves later calls. */
const waitMs = 5_000;
/** A root key that has not answered by then never will: the next call asks it again. */
const hungMs = 60_000;
/** A root key that failed is asked again only after this pause, however many calls come. */
const pauseMs = 1_000;

/** Asks the root key once at a time for each key, and keeps the answer. A slow one holds up only its organisation. */
export function createUnwrap(rootKey: RootKey, log: Log): Unwrap {
  const unwrapped = new LRUCache<string, KeyObject>({ max: 10_000, ttl: cacheMs, ttlAutopurge: true });
  const asking = new Map<string, Promise<KeyObject>>();

  async function ask(id: string, { orgId, version, wrappedKey }: WrappedKey): Promise<KeyObject> {
    const slow = setTimeout(
      () =>
        log.warn({ orgId }, "the root key is slow to unwrap an organisation's key; its calls are refused"),
      waitMs,
    ).unref();
    try {
      const bytes = await rootKey.unwrap(wrappedKey, wrapContext({ orgId, version }));
      const key = createSecretKey(bytes);
      bytes.fill(0);
      unwrapped.set(id, key);
      return key;
    } finally {
      clearTimeout(slow);
    }
  }

  async function askOnce(id: string, wrapped: WrappedKey): Promise<KeyObject> {
    try {
      const key = await within(hungMs, ask(id, wrapped), () => silentFor(hungMs));
      asking.delete(id);
      return key;
    } catch (error) {
      setTimeout(() => asking.delete(id), pauseMs).unref();
      // Trying again would not help: the wrapped key was changed, or is another organisation's.
      if (error instanceof SealBroken) throw error;
      log.warn({ err: error, orgId: wrapped.orgId }, "the root key did not unwrap an organisation's key");
      throw error instanceof RootKeyUnavailable ? error : new RootKeyUnavailable(error);
    }
  }

  return async (wrapped) => {
    const id = `${wrapped.orgId}/${wrapped.version}`;
    const known = unwrapped.get(id);
    if (known !== undefined) return known;
    const asked = asking.get(id) ?? askOnce(id, wrapped);
    asking.set(id, asked);
    return within(waitMs, asked, () => silentFor(waitMs));
  };
}

/** A root key that takes longer. */
function silentFor(milliseconds: number): RootKeyUnavailable {
  return new RootKeyUnavailable(new Error(`no answer in ${milliseconds} ms`));
}
