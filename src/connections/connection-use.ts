import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { createUsageLog, type Use } from "#src/platform/usage-log.ts";
import { recordHealthy, recordUse, type HealthyAnswer } from "./use-store.ts";

/** When connections were used, and when their services last answered well. */
export interface ConnectionUse {
  noteCall(orgId: string, connectionId: string, at: Date): void;
  noteHealthy(orgId: string, answer: HealthyAnswer): void;
  /** Writes what this replica still holds in memory, so that a read shows all earlier calls. */
  flush(orgId: string): Promise<void>;
  close(): Promise<void>;
}

export function createConnectionUse(database: Database, log: Log): ConnectionUse {
  const logOf = (write: typeof recordUse) =>
    createUsageLog((orgId, uses) => database.record(orgId, (tx) => write(tx, orgId, uses)), log);
  const calls = logOf(recordUse);
  const healthy = logOf((tx, orgId, uses) => recordHealthy(tx, orgId, [...uses].map(answerOf)));
  return {
    noteCall: (orgId, connectionId, at) => calls.note(orgId, connectionId, at),
    noteHealthy: (orgId, answer) => healthy.note(orgId, nameOf(answer), answer.at),
    async flush(orgId) {
      await Promise.all([calls.flush(orgId), healthy.flush(orgId)]);
    },
    async close() {
      await Promise.all([calls.close(), healthy.close()]);
    },
  };
}

// Neither an id nor a base URL has a space.
const nameOf = ({ connectionId, baseUrl }: HealthyAnswer) => `${connectionId} ${baseUrl}`;

function answerOf([name, { lastAt }]: [string, Use]): HealthyAnswer {
  const space = name.indexOf(" ");
  return { connectionId: name.slice(0, space), baseUrl: name.slice(space + 1), at: lastAt };
}
