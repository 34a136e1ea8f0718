import { and, desc, eq, gte, sql } from "#src/db/drizzle.cjs";
import { textArray } from "#src/db/columns.ts";
import type { Tx } from "#src/db/database.ts";
import type { ProbeFailure } from "#src/connections/connection.ts";
import { connectionHealth, connectionTransitions } from "#src/connections/schema.ts";
import type { Environment } from "#src/platform/caller.ts";

/** A connection whose probe is due, claimed by this replica. */
export interface DueProbe {
  readonly orgId: string;
  readonly connectionId: string;
  readonly baseUrl: string;
  /** Whether it is probed with its credential, by the call that its integration declares. */
  readonly declared: boolean;
  readonly dueAt: Date;
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
  /** Undefined for a probe that failed. */
  readonly latencyMs: number | undefined;
  /** Whether the service answered at all: then it is known whether it has a certificate. */
  readonly answered: boolean;
  readonly certificateExpiresAt: Date | undefined;
}

/** A connection whose last probe ended differently from the previous probe. */
export interface Transition extends Record<string, unknown> {
  readonly orgId: string;
  readonly connectionId: string;
  readonly error: string | null;
}

/** How much of what is due a replica takes at once. */
export interface ClaimLimits {
  readonly most: number;
  readonly mostOfOne: number;
  /** The organisations of which it has enough. */
  readonly full: readonly string[];
}

/**
 * Claims connections that are due, of all organisations. Claiming is pushing the next due time: no other
 * replica sees the row as due any more, and if this one dies before it probes, one period is lost.
 */
export async function claimDue(
  tx: Tx,
  environment: Environment,
  now: Date,
  { most, mostOfOne, full }: ClaimLimits,
): Promise<DueProbe[]> {
  const rows = await tx.execute<Record<string, unknown> & Omit<DueProbe, "dueAt"> & { dueAt: string }>(
    sql`select org_id as "orgId", connection_id as "connectionId", base_url as "baseUrl", declared, due_at as "dueAt"
        from claim_due_probes(
          ${environment}, ${now.toISOString()}::timestamptz, ${most}, ${mostOfOne}, ${textArray(full)})`,
  );
  return rows.map(({ dueAt, ...row }) => ({ ...row, dueAt: new Date(dueAt) }));
}

/** Records what probes found, and returns the connections whose health changed. */
export async function recordOutcomes(tx: Tx, outcomes: readonly ProbeOutcome[]): Promise<Transition[]> {
  return await tx.execute<Transition>(
    sql`select org_id as "orgId", connection_id as "connectionId", error
        from record_probes(${JSON.stringify(outcomes)}::json)`,
  );
}

/** One probe; without a latency if it failed. */
export interface Check {
  readonly at: Date;
  readonly latencyMs: number | undefined;
}

/** A probe that found another state than the one before it; without a failure if the service was well. */
export interface StateChange {
  readonly at: Date;
  readonly failure: ProbeFailure | undefined;
}

/** The last probes of a connection, oldest first. */
export async function readChecks(tx: Tx, orgId: string, connectionId: string): Promise<Check[]> {
  const { recentAt, recentMs } = connectionHealth;
  const [row] = await tx
    .select({ recentAt, recentMs })
    .from(connectionHealth)
    .where(and(eq(connectionHealth.orgId, orgId), eq(connectionHealth.connectionId, connectionId)));
  return (row?.recentAt ?? []).map((at, index) => ({ at, latencyMs: row?.recentMs[index] ?? undefined }));
}

/** When the state of a connection changed, latest first. */
export async function readStateChanges(
  tx: Tx,
  orgId: string,
  connectionId: string,
  since: Date,
): Promise<StateChange[]> {
  const rows = await tx
    .select()
    .from(connectionTransitions)
    .where(
      and(
        eq(connectionTransitions.orgId, orgId),
        eq(connectionTransitions.connectionId, connectionId),
        gte(connectionTransitions.at, since),
      ),
    )
    .orderBy(desc(connectionTransitions.at));
  return rows.map(({ at, stage, error }) => ({
    at,
    failure: stage === null ? undefined : { stage, message: error ?? "" },
  }));
}

/** Until when what is kept of health and of changes lasts. */
export interface Kept {
  readonly transitionsBefore: Date;
  readonly farewellsBefore: Date;
}

/** Forgets what was kept long enough, and what a clock that was ahead has put off. */
export async function keepHealth(tx: Tx, now: Date, kept: Kept): Promise<void> {
  const moment = (date: Date) => sql`${date.toISOString()}::timestamptz`;
  await tx.execute(
    sql`select keep_health(${moment(now)}, ${moment(kept.transitionsBefore)}, ${moment(kept.farewellsBefore)})`,
  );
}
