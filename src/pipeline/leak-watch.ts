import { InvalidBearer } from "#src/verification/errors.ts";
import type { Limits } from "#src/verification/limits.ts";
import type { MisuseEvents } from "#src/verification/misuse-events.ts";
import type { KeyLookup } from "#src/verification/key-lookup.ts";
import { mayBeImported, secretIn } from "#src/api-keys/secret-format.ts";
import { createBackground } from "#src/platform/background.ts";
import type { Call } from "#src/platform/caller.ts";
import { targetOf, type Handler } from "#src/platform/http.ts";
import { createKeyShapes } from "#src/platform/key-shapes.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { credentialsIn, type QueryOwner, type UrlCredential } from "./credentials-in-url.ts";
import { callOfRequest } from "./request-call.ts";
import { loggablePath } from "#src/platform/loggable-path.ts";

/**
 * Reports keys that came in a URL, whatever its path, to the organisations that own them. What the caller is answered
 * is decided elsewhere and earlier: the keys are looked up in the background, so that it takes as long for known ones
 * as for others.
 */
export interface LeakWatch {
  over(handler: Handler): Handler;
  /** Looks up what is left. */
  close(): Promise<void>;
}

/** At most this many keys of one URL are looked up. */
const maxKeys = 3;
/**
 * At most this many URLs wait. One after another, they take a fraction of what the other requests have of the
 * database.
 */
const maxWaiting = 100;
const closeMs = 2_000;

export function createLeakWatch(parts: {
  keys: KeyLookup;
  legacyPrefixes: readonly string[];
  limits: Limits;
  misuse: MisuseEvents;
  /** Whether the query of a path is another service's. */
  hasForeignQuery: (path: string) => boolean;
  meter: Meter;
  log: Log;
}): LeakWatch {
  const { keys, legacyPrefixes, limits, misuse, hasForeignQuery, log } = parts;
  const shapes = createKeyShapes(legacyPrefixes);
  const background = createBackground({ name: "keys in URLs", log, maxWaiting, closeMs });
  const count = parts.meter.counter({
    name: "patchbay_keys_in_urls_total",
    help: "What looked like a key in the URL of a request: a known one, or an unknown one.",
    labels: ["key"],
    awaited: [{ key: "known" }],
  });

  async function lookUp(found: readonly UrlCredential[], path: string, call: Call): Promise<void> {
    const { requestId, remoteAddress: address } = call;
    const looking = limits.limitFailures(clientNameOf(address), async (beforeGuess) => {
      for (const { place, text } of found) {
        const key = await keys.find(text, { beforeGuess });
        count({ key: key === undefined ? "unknown" : "known" });
        if (key !== undefined) misuse.noteLeak(key, { place, path }, { requestId, address });
      }
      // The client has failed to authenticate, also with a known key: if only unknown ones counted, the budget would
      // tell the finder of a refused key that it was a real one.
      throw new InvalidBearer("unknown");
    });
    try {
      await looking;
    } catch (thrown) {
      if (!(thrown instanceof InvalidBearer || thrown instanceof RateLimited)) throw thrown;
    }
  }

  return {
    over: (handler) => (request, response) => {
      handler(request, response);
      const { url = "" } = request;
      const queryOwner = hasForeignQuery(targetOf(request).path) ? "foreign" : "ours";
      const found = keysIn(url, queryOwner, legacyPrefixes);
      if (found.length === 0) return;
      const call = callOfRequest(request);
      background.run(() => lookUp(found, loggablePath(url, shapes), call));
    },
    close: () => background.close(),
  };
}

/** The first of what may be keys; each once, though most are found by their looks and by their parameter's name. */
function keysIn(url: string, queryOwner: QueryOwner, legacyPrefixes: readonly string[]): UrlCredential[] {
  const found = new Map<string, UrlCredential>();
  for (const { place, text } of credentialsIn(url, queryOwner)) {
    const secret = secretIn(text);
    if (secret === undefined || found.has(secret) || !mayBeImported(secret, legacyPrefixes)) continue;
    found.set(secret, { place, text: secret });
    if (found.size === maxKeys) break;
  }
  return [...found.values()];
}
