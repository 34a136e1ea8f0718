import { LRUCache } from "lru-cache";
import { append } from "#src/audit/append.ts";
import type { Database } from "#src/db/database.ts";
import { createBackground } from "#src/platform/background.ts";
import type { Log } from "#src/platform/log.ts";
import { hasEnded } from "#src/api-keys/api-key.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import { InvalidBearer, type InvalidBecause } from "./errors.ts";

/**
 * Records for the owner of a key, in the audit log, that the key is where it should not be. It never ends a key by
 * itself: one forgotten job would then cut off everything else that uses the key.
 */
export interface MisuseEvents {
  /** A key, good or not, came in a URL. */
  noteLeak(key: PresentedKey, leak: Leak, by: Sighting): void;
  /** A key was refused. Only refusals after a revocation or a rotation are recorded. */
  noteUse(key: PresentedKey, because: InvalidBecause, by: Sighting): void;
  /** Records the events that still wait. */
  close(): Promise<void>;
}

/** Where in a URL a key was. */
export interface Leak {
  readonly place: "path" | "query";
  /** The path of the URL, without the key if the key was in the path. */
  readonly path: string;
}

/** What is known of the client that presented a key. */
export interface Sighting {
  readonly requestId: string;
  readonly address: string | undefined;
}

/** How long after an event of a key others of the same kind are only counted. */
const quietMs = 60 * 60 * 1000;
/** The same, if the event could not be recorded: a lost database must not get an attempt for each request. */
const retryMs = 60 * 1000;
/** At most this many keys are remembered. Beyond it, the key that was quiet for longest may get an event too early. */
const maxRemembered = 10_000;
/** At most this many events wait: more than any normal hour has. */
const maxWaiting = 1_000;
const closeMs = 5_000;

/** What one kind of event has left behind for one key. */
interface Noted {
  readonly since: number;
  quietMs: number;
  /** How many were only counted. */
  suppressed: number;
}

/**
 * The caller awaits none of it, and it does the same for each refused key, so that a revoked key is answered as fast
 * as one that never existed.
 */
export function createMisuseEvents(parts: { database: Database; log: Log; now: () => Date }): MisuseEvents {
  const { database, log, now } = parts;
  const notedByKind = new LRUCache<string, Noted>({ max: maxRemembered });
  const background = createBackground({ name: "misused keys", log, maxWaiting, closeMs });

  function note(action: string, key: PresentedKey, by: Sighting, facts: Readonly<Record<string, unknown>>) {
    const { orgId, id: target, name } = key;
    const kind = `${action} ${orgId}/${target}`;
    const before = notedByKind.get(kind);
    const at = now().getTime();
    if (before !== undefined && isQuiet(before, at)) {
      before.suppressed += 1;
      return;
    }
    const suppressed = before?.suppressed ?? 0;
    const noted: Noted = { since: at, quietMs, suppressed: 0 };
    notedByKind.set(kind, noted);
    const { requestId, address: clientAddress = null } = by;
    const details = { name, ...facts, requestId, clientAddress, suppressed };

    function countLater() {
      noted.suppressed += suppressed + 1;
      noted.quietMs = retryMs;
    }

    const isWaiting = background.run(async () => {
      try {
        await database.change(orgId, (tx) => append(tx, "service", { action, target, details }));
      } catch (err) {
        // With all that the event would hold: the key may never be seen again.
        log.error({ err, orgId, action, target, details }, "the misuse of a key could not be recorded");
        countLater();
      }
    });
    if (!isWaiting) countLater();
  }

  return {
    noteLeak(key, { place, path }, by) {
      const at = now();
      const isGood =
        key.revokedAt === undefined && !hasEnded(key.validUntil, at) && !hasEnded(key.expiresAt, at);
      note("api_key.leaked", key, by, { place, path, stillGood: isGood, ...secretOf(key) });
    },

    noteUse(key, because, by) {
      if (because === "revoked") {
        note("api_key.used_after_revocation", key, by, { revokedAt: key.revokedAt?.toISOString() ?? null });
      }
      if (because === "retired") note("api_key.used_after_rotation", key, by, secretOf(key));
    },

    close: () => background.close(),
  };
}

/** Admits a key, and notes it if it is refused. */
export function recordingMisuse<T>(misuse: MisuseEvents, key: PresentedKey, by: Sighting, judge: () => T): T {
  try {
    return judge();
  } catch (thrown) {
    if (thrown instanceof InvalidBearer) misuse.noteUse(key, thrown.because, by);
    throw thrown;
  }
}

/** A clock that was set back does not make the quiet time longer. */
function isQuiet({ since, quietMs }: Noted, at: number): boolean {
  return at >= since && at < since + quietMs;
}

/** Which of a key's secrets it was: each retired one has an end of its own, and the newest has none. */
function secretOf({ validUntil }: PresentedKey) {
  return { secretValidUntil: validUntil?.toISOString() ?? null };
}
