import type { Database } from "#src/db/database.ts";
import type { Call } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { createObservations } from "./observations.ts";

/** Records in the audit log that a key was used for what policy refuses: it may be in the wrong hands. */
export interface Refusals {
  /** Notes a failure, if it is such a refusal, and not of input that can be given otherwise. */
  note(failure: unknown, call: Pick<Call, "caller" | "requestId" | "rpc">): void;
  /** Records what still waits. */
  close(): Promise<void>;
}

/** A missing scope is not among them: it says that a key is new to something, and not that it went beyond its place. */
const reasons: ReadonlySet<string> = new Set(["CONNECTION_NOT_ALLOWED", "NOT_OWNER", "ADDRESS_DENIED"]);

/** How long after an event of a key and a reason others are only counted: a client may try as often as it likes. */
const quietMs = 60_000;

/** Creates the record of the calls of all organisations. */
export function createRefusals(parts: { database: Database; log: Log; now: () => Date }): Refusals {
  const observations = createObservations({
    ...parts,
    name: "refused calls",
    failed: "a refused call could not be recorded",
    quietMs,
  });
  return {
    note(failure, { caller, requestId, rpc = null }) {
      if (!(failure instanceof ServiceError) || caller === undefined) return;
      const { kind, reason, message, metadata } = failure;
      if (kind !== "permission_denied" || !reasons.has(reason)) return;
      const { connection_id: connectionId = null } = metadata;
      const details = { reason, message, rpc, connectionId, userId: caller.userId ?? null, requestId };
      const event = { action: "api_key.refused", target: caller.via.id, details };
      observations.note(caller.orgId, event, reason);
    },
    close: () => observations.close(),
  };
}
