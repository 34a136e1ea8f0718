import type { Connection } from "#src/db/connection.ts";

/** Where a connection is, among as many as there are. */
type BaseUrlOf = (n: number) => string;

/**
 * Stores connections that are due since a minute, and puts them in place of all others. Row by row, the changes of one
 * transaction would be numbered one behind the other; nobody watches here.
 */
export async function putDueConnections(
  owner: Connection,
  { organisations, each, baseUrlOf }: { organisations: number; each: number; baseUrlOf: BaseUrlOf },
): Promise<void> {
  await owner.run("set session_replication_role = replica");
  for (const table of ["connections", "connection_health", "connection_changes"])
    await owner.run(`truncate ${table} cascade`);
  await owner.run(
    "insert into orgs (id, name, created_at) select 'org_' || o, 'bench', now() from generate_series(1, $1::int) o on conflict do nothing",
    [organisations],
  );
  const baseUrls = Array.from({ length: organisations * each }, (_, n) => baseUrlOf(n));
  await owner.run(
    `insert into connections (org_id, id, environment, base_url, active, created_at, integration)
     select 'org_' || 1 + (n - 1) % $2::int, 'scn_' || lpad(n::text, 26, '0'), 'sandbox', url, true, now(), 'custom:bench'
     from unnest($1::text[]) with ordinality as u (url, n)`,
    [baseUrls, organisations],
  );
  await owner.run(
    `insert into connection_health (org_id, connection_id, next_due_at, last_checked_at, last_healthy_at, state, recent_at, recent_ms)
     select org_id, id, now() - random() * interval '1 minute', now() - interval '1 minute', now() - interval '1 minute', 'healthy',
       array_fill(now() - interval '1 minute', array[24]), array_fill(3, array[24]) from connections`,
  );
  await owner.run("set session_replication_role = origin");
  await owner.run("vacuum analyze connections");
  await owner.run("vacuum analyze connection_health");
}
