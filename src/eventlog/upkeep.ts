import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { dropDay, dropUploads, keepDays } from "./intake-store.ts";

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
    async work(signal) {
      await database.system((tx) => keepDays(tx, now()));
      await database.system((tx) => dropUploads(tx, new Date(now().getTime() - hourMs)));
      const today = now().toISOString().slice(0, 10);
      const drop = () => database.system((tx) => dropDay(tx, today));
      let dropped = 0;
      while (!signal.aborted && (await drop()) > 0) dropped += 1;
      if (dropped > 0) log.info({ dropped }, "days of what is no longer kept were dropped");
    },
    log,
  });
}
