import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { requireVisible } from "#src/connections/access.ts";
import { isUnhealthy } from "#src/connections/connection.ts";
import type { ConnectionUse } from "#src/connections/connection-use.ts";
import { healthOf } from "#src/connections/messages.ts";
import { getConnection } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import { callerOf } from "#src/platform/caller.ts";
import { transitionsMs } from "./kept.ts";
import { readChecks, readStateChanges, type StateChange } from "./store.ts";

/** Answers what the last probes of a connection found. */
export function createGetConnectionHealth(parts: {
  database: Database;
  use: Pick<ConnectionUse, "flush">;
  now: () => Date;
}): ServiceImpl<typeof ConnectionService>["getConnectionHealth"] {
  const { database, use, now } = parts;
  return async ({ id }, context) => {
    const caller = callerOf(context);
    await use.flush(caller.orgId);
    const { connection, checks, transitions } = await database.read(caller.orgId, async (tx) => {
      const connection = requireVisible(caller, await getConnection(tx, caller, id));
      const since = new Date(now().getTime() - transitionsMs);
      return {
        connection,
        checks: await readChecks(tx, caller.orgId, id),
        transitions: await readStateChanges(tx, caller.orgId, id, since),
      };
    });
    const { lastHealthyAt } = connection;
    return {
      health: {
        ...healthOf(connection),
        ...(lastHealthyAt && { lastHealthyAt: timestampFromDate(lastHealthyAt) }),
        ...(isUnhealthy(connection, now()) && { unhealthy: true }),
        checks: checks.map(({ at, latencyMs }) => ({
          at: timestampFromDate(at),
          ...(latencyMs !== undefined && { latencyMs }),
        })),
        transitions: transitions.map(transitionToMessage),
      },
    };
  };
}

function transitionToMessage({ at, failure }: StateChange) {
  return { at: timestampFromDate(at), healthy: failure === undefined, ...failure };
}
