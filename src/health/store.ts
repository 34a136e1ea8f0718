import { sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";

/** A connection whose probe is due, claimed by this replica. */
export interface DueProbe extends Record<string, unknown> {
  readonly orgId: string;
  readonly connectionId: string;
  readonly baseUrl: string;
  /** Whether it is probed with its credential, by the call that its integration declares. */
  readonly declared: boolean;
}

/** What a probe found; stage and error are undefined when the service was reached. */
export interface ProbeOutcome {
  readonly orgId: string;
  readonly connectionId: string;
  /** The URL that was probed: if the connection has another one by now, the outcome says nothing of it. */
  readonly baseUrl: string;
  readonly at: Date;
  readonly stage: string | undefined;
  readonly error: string | undefined;
}

/** A connection whose last probe ended differently from the previous probe. */
export interface Transition extends Record<string, unknown> {
  readonly orgId: string;
  readonly connectionId: string;
  readonly error: string | null;
}

/**
 * Claims connections that are due, of all organisations. Claiming is pushing the next due time: no other
 * replica sees the row as due any more, and if this one dies before it probes, one period is lost.
 */
export async function claimDue(
  tx: Tx,
  environment: Environment,
  now: Date,
  limit: number,
): Promise<DueProbe[]> {
  return await tx.execute<DueProbe>(
    sql`select org_id as "orgId", connection_id as "connectionId", base_url as "baseUrl", declared
        from claim_due_probes(${environment}, ${now.toISOString()}::timestamptz, ${limit})`,
  );
}

/** Records what probes found, and returns the connections whose health changed. */
export async function recordOutcomes(tx: Tx, outcomes: readonly ProbeOutcome[]): Promise<Transition[]> {
  return await tx.execute<Transition>(
    sql`select org_id as "orgId", connection_id as "connectionId", error
        from record_probes(${JSON.stringify(outcomes)}::json)`,
  );
}
