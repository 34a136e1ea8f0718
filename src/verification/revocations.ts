import type { Database } from "#src/db/database.ts";
import type { Caller } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { hasEnded } from "#src/api-keys/api-key.ts";
import { TooManyStreams } from "#src/ratelimit/errors.ts";

/** The stream can no longer promise to name every change. */
class WatchEnded extends ServiceError {
  readonly kind = "unavailable";
  readonly reason = "WATCH_ENDED";

  constructor(why: string) {
    super(`${why}: forget what you remember of keys, and call again`);
  }
}

/** What a watcher is to forget. */
export interface Forgetting {
  readonly forgetAll: boolean;
  readonly apiKeyIds: string[];
}

/** Announces to watchers which keys of their organisation changed. */
export interface Revocations {
  /** `recheck` fails if the caller's key is no longer good. */
  watch(caller: Caller, recheck: () => Promise<void>, signal: AbortSignal): AsyncIterable<Forgetting>;
  /** Ends all streams: they would hold up a shutdown. */
  stop(): void;
}

/** A watcher is promised a message each second, even if nothing changed; twice as often leaves room for delays. */
const heartbeatMs = 500;
/** More keys than this at once are not worth naming. */
const maxNamed = 1_000;
/** The most of one organisation: each takes a ten-thousandth of a processor, and the others need some of it too. */
const maxStreams = 1_000;

const deaf = "changes cannot be received right now";
const stopped = "the service stops";

interface Watcher {
  readonly caller: Caller;
  /** Keys that changed since the last message. */
  changed: Set<string>;
  ended: WatchEnded | undefined;
  wake(): void;
}

export function createRevocations(parts: { database: Database; now: () => Date }): Revocations {
  const { database, now } = parts;
  const watchers = new Map<string, Set<Watcher>>();
  /** Why no stream can be opened; undefined if one can. */
  let closedBecause: string | undefined = deaf;

  function add(watcher: Watcher): void {
    const { orgId } = watcher.caller;
    const known = watchers.get(orgId) ?? new Set();
    if (known.size >= maxStreams) {
      throw new TooManyStreams(`your organisation has ${maxStreams} streams open`);
    }
    watchers.set(orgId, known.add(watcher));
  }

  function remove(watcher: Watcher): void {
    const { orgId } = watcher.caller;
    const known = watchers.get(orgId);
    known?.delete(watcher);
    if (known?.size === 0) watchers.delete(orgId);
  }

  function end(watcher: Watcher, why: string): void {
    watcher.ended ??= new WatchEnded(why);
    watcher.wake();
  }

  function endAll(why: string): void {
    for (const watcher of [...watchers.values()].flatMap((known) => [...known])) end(watcher, why);
  }

  void database.listen({
    notified(what) {
      const [kind, orgId = "", id] = what.split("/");
      if (kind === "organization") {
        for (const watcher of watchers.get(orgId) ?? []) end(watcher, "your organisation was shredded");
      }
      if (kind !== "key" || id === undefined) return;
      for (const watcher of watchers.get(orgId) ?? []) {
        // It may have been revoked, or have lost its scope: a new call goes through the gate.
        if (watcher.caller.via.id === id) end(watcher, "your own key changed");
        // A watcher that reads nothing must not make the set grow for ever.
        if (watcher.changed.size <= maxNamed) watcher.changed.add(id);
        watcher.wake();
      }
    },
    listening(next) {
      if (closedBecause !== stopped) closedBecause = next ? undefined : deaf;
      if (!next) endAll(deaf);
    },
  });

  async function* watch(
    caller: Caller,
    recheck: () => Promise<void>,
    signal: AbortSignal,
  ): AsyncIterable<Forgetting> {
    if (closedBecause !== undefined) throw new WatchEnded(closedBecause);
    const watcher: Watcher = { caller, changed: new Set(), ended: undefined, wake: () => undefined };
    const wake = () => watcher.wake();
    add(watcher);
    signal.addEventListener("abort", wake);
    try {
      // The key may have changed after the gate checked it, and that change is not announced again.
      await recheck();
      yield { forgetAll: true, apiKeyIds: [] };
      while (!signal.aborted) {
        if (watcher.changed.size === 0 && watcher.ended === undefined) await nextWake(watcher);
        if (watcher.ended !== undefined) throw watcher.ended;
        if (hasEnded(caller.expiresAt, now()) || hasEnded(caller.secretValidUntil, now())) {
          throw new WatchEnded("your own key expired");
        }
        const apiKeyIds = [...watcher.changed];
        watcher.changed = new Set();
        const tooMany = apiKeyIds.length > maxNamed;
        yield { forgetAll: tooMany, apiKeyIds: tooMany ? [] : apiKeyIds };
      }
    } finally {
      remove(watcher);
      signal.removeEventListener("abort", wake);
    }
  }

  return {
    watch,
    stop() {
      // A client whose stream ended calls again at once, over a connection that may still be open.
      closedBecause = stopped;
      endAll(stopped);
    },
  };
}

/** Until something happens, and at most until the next heartbeat is due. */
function nextWake(watcher: Watcher): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, heartbeatMs);
    watcher.wake = () => {
      clearTimeout(timer);
      watcher.wake = () => undefined;
      resolve();
    };
  });
}
