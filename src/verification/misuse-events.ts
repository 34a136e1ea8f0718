import { createObservations } from "#src/audit/observations.ts";
import type { Database } from "#src/db/database.ts";
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

/**
 * The caller awaits none of it, and it does the same for each refused key, so that a revoked key is answered as fast
 * as one that never existed.
 */
export function createMisuseEvents(parts: { database: Database; log: Log; now: () => Date }): MisuseEvents {
  const { now } = parts;
  const observations = createObservations({
    ...parts,
    name: "misused keys",
    failed: "the misuse of a key could not be recorded",
    quietMs,
  });

  function note(action: string, key: PresentedKey, by: Sighting, facts: Readonly<Record<string, unknown>>) {
    const { orgId, id: target, name } = key;
    const { requestId, address: clientAddress = null } = by;
    observations.note(orgId, { action, target, details: { name, ...facts, requestId, clientAddress } });
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

    close: () => observations.close(),
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

/** Which of a key's secrets it was: each retired one has an end of its own, and the newest has none. */
function secretOf({ validUntil }: PresentedKey) {
  return { secretValidUntil: validUntil?.toISOString() ?? null };
}
