import type { Connection as Postgres } from "#src/db/connection.ts";
import type { Environment } from "#src/platform/caller.ts";
import { ok, warn, type Finding } from "./finding.ts";

/** Each is due every minute; a sweep that is this late does not keep up, or is not there. */
const lateSeconds = 120;

/** Looks whether a service somewhere probes the connections in time. */
export async function checkSweep(owner: Postgres, environment: Environment): Promise<Finding> {
  const [row] = await owner.run(
    `select count(*)::int as all, count(*) filter (where h.next_due_at < now() - make_interval(secs => $2))::int as late,
       coalesce(extract(epoch from now() - min(h.next_due_at)), 0)::int as seconds
     from connection_health h join connections c on c.org_id = h.org_id and c.id = h.connection_id
     where c.active and c.environment = $1`,
    [environment, lateSeconds],
  );
  const [all, late] = [Number(row?.["all"]), Number(row?.["late"])];
  if (late === 0) return ok(`${all} connections, none overdue`);
  return warn(
    `${late} of ${all} connections are overdue, the oldest by ${row?.["seconds"]} s: start the service; if it runs, ` +
      "look for `health sweep failed` in its log, and give it more replicas",
  );
}
