import { sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { Use } from "#src/platform/usage-log.ts";
import type { ProbeFailure } from "./connection.ts";
import { connectionHealth, connections, connectionUsage } from "./schema.ts";

/** Notes calls, except those made through a connection that is gone by now. */
export async function recordUse(tx: Tx, orgId: string, uses: ReadonlyMap<string, Use>): Promise<void> {
  const rows = JSON.stringify([...uses].map(([id, use]) => ({ id, calls: use.count, at: use.lastAt })));
  await tx.execute(sql`
    insert into ${connectionUsage} as known (org_id, connection_id, calls, last_used_at)
    select org_id, id, used.calls, used.at
    from json_to_recordset(${rows}::json) as used (id text, calls bigint, at timestamptz)
    join ${connections} using (id)
    where org_id = ${orgId}
    order by id
    on conflict (org_id, connection_id) do update
    set calls = known.calls + excluded.calls,
        last_used_at = greatest(known.last_used_at, excluded.last_used_at)`);
}

/** A connection's service answered well, at this base URL. */
export interface HealthyAnswer {
  readonly connectionId: string;
  readonly baseUrl: string;
  readonly at: Date;
}

/**
 * Notes when services answered well; an older time never overwrites a newer one. If the connection has another base
 * URL by now, the answer says nothing of it.
 */
export async function recordHealthy(tx: Tx, orgId: string, answers: readonly HealthyAnswer[]): Promise<void> {
  const rows = JSON.stringify(answers);
  const noted = sql`json_to_recordset(${rows}::json) as noted ("connectionId" text, "baseUrl" text, at timestamptz)`;
  // Locked in a statement of its own: a change of the base URL writes this row too, so the next statement sees the
  // URL of a change that this one waited for. In the order of `record_probes`: an UPDATE locks in that of its plan.
  await tx.execute(sql`
    select from ${connectionHealth} join ${noted} on connection_id = "connectionId"
    where org_id = ${orgId}
    order by connection_id
    for no key update of ${connectionHealth}`);
  await tx.execute(sql`
    update ${connectionHealth} as known
    set last_healthy_at = greatest(known.last_healthy_at, noted.at)
    from ${noted} join ${connections} as asked on asked.id = "connectionId" and asked.base_url = "baseUrl"
    where known.org_id = ${orgId} and asked.org_id = ${orgId} and known.connection_id = asked.id`);
}

/** Notes why a service failed a test, unless the connection has another base URL by now. */
export async function recordFailure(
  tx: Tx,
  orgId: string,
  { connectionId, baseUrl, at, stage, message }: HealthyAnswer & ProbeFailure,
): Promise<void> {
  await tx.execute(sql`
    update ${connectionHealth} as known
    set last_error = ${message}, last_error_stage = ${stage}, last_error_at = ${at.toISOString()}::timestamptz
    from ${connections} as asked
    where asked.org_id = ${orgId} and asked.id = ${connectionId} and asked.base_url = ${baseUrl}
      and known.org_id = asked.org_id and known.connection_id = asked.id`);
}
