import { expect, test } from "vitest";
import { flood } from "../support/flood.ts";
import { createTestDatabase } from "../support/postgres.ts";

const budgetMib = 128;

test.skipIf(process.platform !== "linux")(
  "callers that do not read their answers cost no more than the budget, and keep no other from an answer",
  async () => {
    await using database = await createTestDatabase("empty");
    const { statuses, growthMib, neighbour, afterwards, log } = await flood(database.url, budgetMib, 60);
    expect(statuses).toContain(503);
    expect(new Set(statuses).difference(new Set([200, 503, "cut"]))).toStrictEqual(new Set());
    expect(growthMib).toBeLessThan(budgetMib + 96);
    expect(new Set(neighbour)).toStrictEqual(new Set([200]));
    // All of it is given back.
    expect(afterwards).toBe(200);
    expect(log).not.toContain('"level":50');
  },
);
