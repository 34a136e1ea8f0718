import { flood } from "../support/flood.ts";
import { startBenchPostgres } from "./patchbay.ts";

const budgetMib = 128;

/** What callers cost that ask for 9.9 MiB each and read only the head of the answer. */
export async function run(): Promise<object> {
  await using postgres = await startBenchPostgres();
  const figures: Record<string, object> = {};
  for (const calls of [6, 60, 240]) {
    // Each on a first start of its own.
    const url = await postgres.newDatabase(`flood_${calls}`);
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
  return figures;
}
