import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { withDatabase } from "#src/db/address.ts";
import { openConnection } from "#src/db/connection.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { flood } from "../support/flood.ts";

const budgetMib = 128;

/** What callers cost that ask for 9.9 MiB each and read only the head of the answer. */
export async function run(): Promise<object> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const postgres = await startEmbeddedPostgres({ dataDir, log: pino({ level: "silent" }) });
  const figures: Record<string, object> = {};
  for (const calls of [6, 60, 240]) {
    // Each on a first start of its own.
    const name = `flood_${calls}`;
    await using admin = openConnection(postgres.url, {});
    await admin.run(`create database ${name}`);
    const url = withDatabase(postgres.url, name);
    const { statuses, growthMib, slowestNeighbourMs } = await flood(url, budgetMib, calls);
    const count = (status: number | "cut") => statuses.filter((one) => one === status).length;
    figures[`${calls} calls`] = {
      answered: count(200),
      refused: count(503),
      cut: count("cut"),
      growthMib: Math.round(growthMib),
      boundMib: budgetMib + 96,
      slowestNeighbourMs: Math.round(slowestNeighbourMs),
    };
  }
  await postgres.stop();
  await rm(dataDir, { recursive: true });
  return figures;
}
