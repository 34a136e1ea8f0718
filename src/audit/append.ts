import { sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Call } from "#src/platform/caller.ts";

/** What a change leaves behind. */
export interface NewAuditEvent {
  /** What happened, for example `connection.upsert`. */
  readonly action: string;
  /** The id of what it happened to. */
  readonly target: string;
  /** What changed; hashes of secrets, never secrets. */
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * Appends one event to the record of the transaction's organisation, as the last thing before its end: from
 * here on the organisation's other changes wait. The event carries the call's key, user and request id, or those
 * of whoever began it; what the service does by itself, such as at its first start, has none.
 */
export async function append(tx: Tx, by: Call | Instigator | "service", event: NewAuditEvent): Promise<void> {
  const { apiKeyId, userId, requestId } = answerableFor(by, event.action);
  await tx.execute(
    sql`select audit_append(${event.action}, ${event.target}, ${apiKeyId}, ${userId}, ${requestId},
      ${JSON.stringify(event.details)})`,
  );
  if (by === "service" || "apiKeyId" in by) return;
  by.settled = true;
  by.target = event.target;
}

/** Says that an audited call found what it should make to be the case already, so that no event is due. */
export function nothingToAudit(call: Call): void {
  call.settled = true;
}

/** Who began what the service finished later, without a call. */
export interface Instigator {
  readonly apiKeyId: string | null;
  readonly userId: string | null;
  readonly requestId: string | null;
}

const serviceItself: Instigator = { apiKeyId: null, userId: null, requestId: null };

function answerableFor(by: Call | Instigator | "service", action: string): Instigator {
  if (by === "service") return serviceItself;
  return "apiKeyId" in by ? by : answerable(by, action);
}

function answerable({ caller, requestId, rpc, auditActions }: Call, action: string): Instigator {
  if (caller === undefined) throw new Error("a change without a caller cannot be recorded");
  // What a method records is part of its contract: readers of the log rely on the declared actions.
  if (auditActions?.includes(action) !== true)
    throw new Error(`${rpc} does not declare the action ${action}`);
  return { apiKeyId: caller.via.id, userId: caller.userId ?? null, requestId };
}
