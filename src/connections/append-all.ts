import { append, type NewAuditEvent } from "#src/audit/append.ts";
import type { Tx } from "#src/db/database.ts";
import type { Call } from "#src/platform/caller.ts";

/** Called last in a transaction. The connection's own event comes last of all. */
export async function appendAll(tx: Tx, call: Call, events: readonly NewAuditEvent[], last: NewAuditEvent) {
  for (const event of [...events, last]) await append(tx, call, event);
}
