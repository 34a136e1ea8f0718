import { createObservations } from "#src/audit/observations.ts";
import type { CallableConnection } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import type { CredentialReflected } from "#src/outbound/errors.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";

/**
 * Records for an organisation, in its audit log, that a service repeated the credential of a connection: what a service
 * shows in answers may also be in its logs and on its pages.
 */
export interface Reflections {
  note(connection: CallableConnection, error: CredentialReflected, by: ReflectedCall): void;
  /** Records the events that still wait. */
  close(): Promise<void>;
}

/** The call whose answer was withheld. */
export interface ReflectedCall {
  readonly caller: Caller;
  readonly method: string;
  readonly requestId: string;
}

/** Creates the record of the calls of all organisations. */
export function createReflections(parts: { database: Database; log: Log; now: () => Date }): Reflections {
  const observations = createObservations({
    ...parts,
    name: "reflected credentials",
    failed: "that a service repeated a credential could not be recorded",
  });
  return {
    note(
      { orgId, id: target, slug: serviceSlug = null, baseUrl },
      { status },
      { caller, method, requestId },
    ) {
      const details = { serviceSlug, baseUrl, method, status, requestId, apiKeyId: caller.via.id };
      observations.note(orgId, { action: "connection.credential_reflected", target, details });
    },
    close: () => observations.close(),
  };
}
