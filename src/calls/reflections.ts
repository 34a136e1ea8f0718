import { LRUCache } from "lru-cache";
import { append } from "#src/audit/append.ts";
import type { Database } from "#src/db/database.ts";
import type { CredentialReflected } from "#src/outbound/errors.ts";
import { createBackground } from "#src/platform/background.ts";
import type { Call } from "#src/platform/caller.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";

/** Records in the audit log that a service repeated the credential that it was called with. */
export interface Reflections {
  note(call: Call, connectionId: string, reflected: CredentialReflected): void;
  /** Records what still waits. */
  close(): Promise<void>;
}

/** How long after an event of a connection others are only counted: whoever calls an echo may call it a lot. */
const quietMs = 60_000;
const maxRemembered = 10_000;
const maxWaiting = 1_000;
const closeMs = 5_000;

export function createReflections(parts: { database: Database; log: Log; now: () => Date }): Reflections {
  const { database, log, now } = parts;
  const noted = new LRUCache<string, { readonly since: number; suppressed: number }>({ max: maxRemembered });
  const background = createBackground({ name: "reflected credentials", log, maxWaiting, closeMs });

  return {
    note({ caller, requestId }, connectionId, { metadata }) {
      if (caller === undefined) return;
      const { orgId } = caller;
      const key = `${orgId}/${connectionId}`;
      const before = noted.get(key);
      const at = now().getTime();
      if (before !== undefined && at >= before.since && at < before.since + quietMs) {
        before.suppressed += 1;
        return;
      }
      noted.set(key, { since: at, suppressed: 0 });
      const event = {
        action: "connection.reflected",
        target: connectionId,
        details: {
          upstreamStatus: Number(metadata["upstream_status"]),
          requestId,
          calledBy: caller.via.id,
          suppressed: before?.suppressed ?? 0,
        },
      };
      background.run(async () => {
        try {
          await database.change(orgId, (tx) => append(tx, "service", event));
        } catch (err) {
          log[levelOfFailure(err)]({ err, orgId, ...event }, "a reflected credential could not be recorded");
        }
      });
    },
    close: () => background.close(),
  };
}
