import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { dropDays, keepDays } from "./intake-store.ts";

/** Makes days ahead, and drops those that are over. */
export type Upkeep = Loop;

const hourMs = 60 * 60 * 1000;

/** Any replica may do it, at any time: what is done is found done. */
export function createUpkeep(parts: {
  database: Pick<Database, "system">;
  log: Log;
  now: () => Date;
}): Upkeep {
  const { database, log, now } = parts;
  return createLoop({
    name: "the upkeep of logs",
    everyMs: hourMs,
    async work() {
      await database.system((tx) => keepDays(tx, now()));
      const today = now().toISOString().slice(0, 10);
      const dropped = await database.system((tx) => dropDays(tx, today));
      if (dropped > 0) log.info({ dropped }, "events that are no longer kept were dropped");
    },
    log,
  });
}
