import { pino } from "pino";
import type { ProbeConnection } from "#src/connections/probe-connection.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { createHealthSweep } from "#src/health/sweep.ts";
import { createMetrics } from "#src/metrics/metrics.ts";
import type { BenchPostgres } from "../patchbay.ts";

import { putDueConnections } from "./due-connections.ts";

const connections = 100_000;
const log = pino({ level: "silent" });

/** A probe that takes nothing: what is left is claiming and recording. */
const probe: ProbeConnection = (_, { baseUrl }) =>
  Promise.resolve({ baseUrl, result: { ok: true, latencyMs: 3, status: 200 } });

/** Two replicas claim and record all that is due, of many organisations and of few, beside two statements that write all rows. */
export async function benchClaims(postgres: BenchPostgres): Promise<void> {
  const { databaseUrl } = await postgres.found("claims");
  await using owner = openConnection(databaseUrl, { statement_timeout: 0 });
  for (const organisations of [500, 20]) {
    const each = connections / organisations;
    await putDueConnections(owner, { organisations, each, baseUrlOf: (n) => `https://h${n}.example` });
    const sweptMs = await timed(() => sweepBy(2, databaseUrl));
    await requireAllRecorded(owner);
    await putDueConnections(owner, { organisations, each, baseUrlOf: (n) => `https://h${n}.example` });
    const bareMs = await timed(async () => {
      await owner.run("update connection_health set next_due_at = now() + interval '1 minute'");
      await owner.run(
        "update connection_health set last_checked_at = now(), last_healthy_at = now(), state = 'healthy'",
      );
    });
    const seconds = (milliseconds: number) => `${(milliseconds / 1_000).toFixed(1)} s`;
    console.log(
      `${connections} due, of ${organisations} organisations`.padEnd(48),
      `${seconds(sweptMs)} by two replicas, ${(sweptMs / bareMs).toFixed(1)} × two bare updates (${seconds(bareMs)})`,
    );
  }
}

async function sweepBy(replicas: number, url: string): Promise<void> {
  await Promise.all(
    Array.from({ length: replicas }, async () => {
      const database = createDatabase({ url, log });
      const sweep = createHealthSweep({
        ...{ database, probe, log, environment: "sandbox", meter: createMetrics() },
        now: () => new Date(),
        monotonicNow: () => performance.now(),
      });
      await sweep.runOnce();
      await database.close();
    }),
  );
}

async function requireAllRecorded(owner: Connection): Promise<void> {
  const [row] = await owner.run(
    "select count(*)::int as n from connection_health where state = 'healthy' and recent_at[23] < recent_at[24]",
  );
  if (row?.["n"] !== connections) throw new Error(`${String(row?.["n"])} of ${connections} were probed`);
}

async function timed(run: () => Promise<void>): Promise<number> {
  const since = performance.now();
  await run();
  return performance.now() - since;
}
