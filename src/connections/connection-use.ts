import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { createUsageLog, type Use } from "#src/platform/usage-log.ts";
import type { Connection } from "./connection.ts";
import { recordHealthy, recordUse, type HealthyAnswer } from "./use-store.ts";

/** When connections were used, and when their services last answered well. */
export interface ConnectionUse {
  noteCall(connection: UsedConnection, at: Date): void;
  /** An answer of the connection's service: 2xx says that it is healthy. */
  noteAnswer(connection: UsedConnection, status: number, at: Date): void;
  /** Writes what this replica still holds in memory, so that a read shows all earlier calls. */
  flush(orgId: string): Promise<void>;
  close(): Promise<void>;
}

type UsedConnection = Pick<Connection, "orgId" | "id" | "baseUrl">;

export function createConnectionUse(database: Database, log: Log): ConnectionUse {
  const logOf = (write: typeof recordUse) =>
    createUsageLog((orgId, uses) => database.record(orgId, (tx) => write(tx, orgId, uses)), log);
  const calls = logOf(recordUse);
  const healthy = logOf((tx, orgId, uses) => recordHealthy(tx, orgId, [...uses].map(answerOf)));
  return {
    noteCall: ({ orgId, id }, at) => calls.note(orgId, id, at),
    noteAnswer({ orgId, id: connectionId, baseUrl }, status, at) {
      if (status >= 200 && status < 300) healthy.note(orgId, nameOf({ connectionId, baseUrl }), at);
    },
    async flush(orgId) {
      await Promise.all([calls.flush(orgId), healthy.flush(orgId)]);
    },
    async close() {
      await Promise.all([calls.close(), healthy.close()]);
    },
  };
}

// Neither an id nor a base URL has a space.
const nameOf = ({ connectionId, baseUrl }: Pick<HealthyAnswer, "connectionId" | "baseUrl">) =>
  `${connectionId} ${baseUrl}`;

function answerOf([name, { lastAt }]: [string, Use]): HealthyAnswer {
  const space = name.indexOf(" ");
  return { connectionId: name.slice(0, space), baseUrl: name.slice(space + 1), at: lastAt };
}
