import { createHash, createSecretKey, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { Log } from "#src/platform/log.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { within } from "#src/platform/within.ts";
import { KeyDestroyed, RootKeyMissing, RootKeyRefused, RootKeyUnavailable } from "./errors.ts";
import { wrapContext, type StoredKey, type WrappedKey } from "./org-keys.ts";
import { rootKeyNamed, type RootKeyParts } from "./named-root-key.ts";
import { createRootKeyWarnings } from "./root-key-warnings.ts";
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
/**
 * From this part of that time on, a key in use is asked for anew, and serves meanwhile: no call waits for that, and none
 * notices a root key that is away for less than the rest. Drawn for each key, so that keys that were first used in the
 * same moment, as after a start, are not asked for in the same moment for ever.
 */
const refreshAt = () => 0.5 + Math.random() * 0.2;
/** A refresh that failed is tried again after this. */
const refreshPauseMs = 15_000;
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
  refreshAtMs: number;
}

/** Asks the root key once at a time for each key, and keeps the answer. A slow one holds up only its organisation. */
export function createUnwrap(
  parts: RootKeyParts & {
    /** How the key is stored now. */
    readonly findKey: (orgId: string, version: number) => Promise<StoredKey | undefined>;
    readonly log: Log;
    readonly monotonicNow?: () => number;
  },
): Unwrap {
  const { findKey, monotonicNow = () => performance.now() } = parts;
  const warn = createRootKeyWarnings(parts.log, monotonicNow);
  const unwrapped = new LRUCache<string, Unwrapped>({
    ...{ ...upTo(10_000), ttl: cacheMs, ttlAutopurge: true },
    ...{ perf: { now: monotonicNow }, ttlResolution: 0 },
  });
  const asking = new Map<string, Promise<KeyObject>>();

  async function ask({ orgId, version, wrappedKey }: WrappedKey): Promise<KeyObject> {
    const slow = setTimeout(() => warn("slow", orgId), waitMs).unref();
    try {
      const stored = await findKey(orgId, version);
      if (stored === undefined || stored.isShredded) throw new KeyDestroyed();
      const { bytes: wrapped, rootKeyId } = wrappingOf(stored, wrappedKey);
      const bytes = await rootKeyNamed(rootKeyId, parts).unwrap(wrapped, wrapContext({ orgId, version }));
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
      warn(isRefusal(error) ? "refused" : "failed", wrapped.orgId, error);
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
        const refreshAtMs = monotonicNow() + cacheMs * refreshAt();
        // Otherwise it was to be forgotten since it was asked for.
        if (asking.get(id) === asked) unwrapped.set(id, { from: wrapped.wrappedKey, key, refreshAtMs });
        end();
      },
      (error: unknown) => {
        // What the root key did not say may be known for a while longer; what was destroyed may not.
        if (!(error instanceof RootKeyUnavailable)) unwrapped.delete(id);
        setTimeout(end, pauseMs).unref();
      },
    );
    return asked;
  }

  function refresh(id: string, known: Unwrapped, wrapped: WrappedKey): void {
    known.refreshAtMs = monotonicNow() + refreshPauseMs;
    if (!asking.has(id)) void begin(id, wrapped);
  }

  return {
    unwrap: async (wrapped) => {
      const id = `${wrapped.orgId}/${wrapped.version}`;
      const known = unwrapped.get(id);
      if (known?.from.equals(wrapped.wrappedKey) === true) {
        if (monotonicNow() >= known.refreshAtMs) refresh(id, known, wrapped);
        return known.key;
      }
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

/**
 * The bytes to unwrap, and who wrapped them. Those that are stored now; but a key that was destroyed once all was sealed
 * anew still opens what a call has read before that, with the bytes that were read then.
 */
function wrappingOf(stored: StoredKey, read: Buffer): { readonly bytes: Buffer; readonly rootKeyId: string } {
  const { wrappedKey, rootKeyId, earlier } = stored;
  if (wrappedKey !== null) return { bytes: wrappedKey, rootKeyId };
  const isEarlier = earlier !== undefined && createHash("sha256").update(read).digest().equals(earlier.hash);
  return { bytes: read, rootKeyId: isEarlier ? earlier.rootKeyId : rootKeyId };
}

function isRefusal(error: unknown): boolean {
  return error instanceof RootKeyRefused || error instanceof RootKeyMissing;
}

/** A root key that takes longer. */
function silentFor(milliseconds: number): RootKeyUnavailable {
  return new RootKeyUnavailable(new Error(`no answer in ${milliseconds} ms`));
}
