import { createObservations } from "#src/audit/observations.ts";
import type { Database } from "#src/db/database.ts";
import type { CredentialReflected } from "#src/outbound/errors.ts";
import type { Call } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";

/**
 * Records in the audit log that a service repeated the credential that it was called with: what a service shows in
 * answers may also be in its logs and on its pages.
 */
export interface Reflections {
  note(call: Pick<Call, "caller" | "requestId">, connectionId: string, reflected: CredentialReflected): void;
  /** Records what still waits. */
  close(): Promise<void>;
}

/** How long after an event of a connection others are only counted: whoever calls an echo may call it a lot. */
const quietMs = 60_000;

/** Creates the record of the calls of all organisations. */
export function createReflections(parts: { database: Database; log: Log; now: () => Date }): Reflections {
  const observations = createObservations({
    ...parts,
    name: "reflected credentials",
    failed: "a reflected credential could not be recorded",
    quietMs,
  });
  return {
    note({ caller, requestId }, target, { status: upstreamStatus }) {
      if (caller === undefined) return;
      const details = { upstreamStatus, requestId, calledBy: caller.via.id };
      observations.note(caller.orgId, { action: "connection.reflected", target, details });
    },
    close: () => observations.close(),
  };
}
