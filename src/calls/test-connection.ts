import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { append } from "#src/audit/append.ts";
import { requireUsable } from "#src/connections/access.ts";
import { getConnection, recordHealthy } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import type { Probe } from "./probe.ts";

/** Probes the service of a connection now, and records what was found. */
export function createTestConnection(parts: {
  database: Database;
  change: Change;
  probe: Probe;
  now: () => Date;
}): ServiceImpl<typeof ConnectionService>["testConnection"] {
  const { database, change, probe, now } = parts;
  return async ({ id }, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const found = await database.read(caller.orgId, (tx) => getConnection(tx, caller, id));
    const connection = requireUsable(caller, found);
    const { slug: serviceSlug, baseUrl } = connection;
    const result = await probe(connection);
    const at = now();
    await change(call, async (tx) => {
      if (result.ok) await recordHealthy(tx, caller.orgId, [{ connectionId: id, baseUrl, at }]);
      const details = { serviceSlug, baseUrl, ...result };
      await append(tx, call, { action: "connection.test", target: id, details });
    });
    return result;
  };
}
