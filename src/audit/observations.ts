import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import type { Database } from "#src/db/database.ts";
import { createBackground } from "#src/platform/background.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { append, type NewAuditEvent } from "./append.ts";

/** Events that are no change of anybody's: what the service saw. They may come as often as a client likes. */
export interface Observations {
  /** Records the event soon, unless one of the same action, target and kind was recorded a short time ago. */
  note(orgId: string, event: NewAuditEvent, kind?: string): void;
  /** Records the events that still wait. */
  close(): Promise<void>;
}

/** The quiet time after an event that could not be recorded: a lost database must not get an attempt for each request. */
const retryMs = 60 * 1000;
/** At most this many are remembered. Beyond it, the target that was quiet for longest may get an event too early. */
const maxRemembered = 10_000;
/** At most this many events wait: more than any normal hour has. */
const maxWaiting = 1_000;
const closeMs = 5_000;

/** What one action has left behind for one target and kind. */
interface Noted {
  readonly since: number;
  quietMs: number;
  /** How many were only counted. */
  suppressed: number;
}

/** Records in the background: the caller awaits none of it. */
export function createObservations(parts: {
  /** What they are of, for the log. */
  name: string;
  /** What the log says of one that could not be recorded. */
  failed: string;
  /** How long after an event others of the same action, target and kind are only counted. */
  quietMs: number;
  database: Database;
  log: Log;
  now: () => Date;
}): Observations {
  const { failed, quietMs, database, log, now } = parts;
  const notedByName = new LRUCache<string, Noted>(upTo(maxRemembered));
  const background = createBackground({ name: parts.name, log, maxWaiting, closeMs });

  return {
    note(orgId, { action, target, details: facts }, kind = "") {
      const name = `${action} ${orgId}/${target} ${kind}`;
      const before = notedByName.get(name);
      const at = now().getTime();
      if (before !== undefined && isQuiet(before, at)) {
        before.suppressed += 1;
        return;
      }
      const suppressed = before?.suppressed ?? 0;
      const noted: Noted = { since: at, quietMs, suppressed: 0 };
      notedByName.set(name, noted);
      const details = { ...facts, suppressed };

      function countLater() {
        noted.suppressed += suppressed + 1;
        noted.quietMs = retryMs;
      }

      const isWaiting = background.run(async () => {
        try {
          await database.change(orgId, (tx) => append(tx, "service", { action, target, details }));
        } catch (err) {
          // With all that the event would hold: it may never be seen again.
          log[levelOfFailure(err)]({ err, orgId, action, target, details }, failed);
          countLater();
        }
      });
      if (!isWaiting) countLater();
    },

    close: () => background.close(),
  };
}

/** A clock that was set back does not make the quiet time longer. */
function isQuiet({ since, quietMs }: Noted, at: number): boolean {
  return at >= since && at < since + quietMs;
}
