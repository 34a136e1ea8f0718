import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { append } from "#src/audit/append.ts";
import { requireUsable } from "#src/connections/access.ts";
import type { ProbeResult } from "#src/connections/probe.ts";
import type { Connections } from "#src/connections/connections.ts";
import { getConnection, recordFailure, recordHealthy } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";

/** Probes the service of a connection now, and records what was found. */
export function createTestConnection(parts: {
  database: Database;
  change: Change;
  connections: Pick<Connections, "probe">;
  now: () => Date;
}): ServiceImpl<typeof ConnectionService>["testConnection"] {
  const { database, change, connections, now } = parts;
  return async ({ id }, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const { orgId } = caller;
    const known = await database.read(orgId, (tx) => getConnection(tx, caller, id));
    const connection = requireUsable(caller, known);
    const { slug, recipe, status } = connection;
    const declared = recipe.probe !== undefined && status === "ACTIVE";
    const found = await connections.probe(caller, {
      ...{ id, baseUrl: connection.baseUrl, declared },
      evenInactive: true,
    });
    const { baseUrl, result } = found;
    const answer = answerOf(result);
    const answered = { connectionId: id, baseUrl, at: now() };
    await change(call, async (tx) => {
      if (result.ok) await recordHealthy(tx, orgId, [answered]);
      else await recordFailure(tx, orgId, { ...answered, stage: result.stage, message: result.message });
      const details = { serviceSlug: slug, baseUrl, ...answer };
      await append(tx, call, { action: "connection.test", target: id, details });
    });
    return answer;
  };
}

function answerOf(result: ProbeResult) {
  if (!result.ok) return { ok: false, error: `${result.stage}: ${result.message}` };
  const { latencyMs, status } = result;
  // A declared probe that is answered so has failed, unless the integration says otherwise.
  return { ok: true, latencyMs, ...((status === 401 || status === 403) && { status }) };
}
