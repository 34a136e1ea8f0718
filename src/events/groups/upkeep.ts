import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import { eraseDead } from "./store.ts";

const hourMs = 60 * 60 * 1000;
/** No channel keeps its events for longer. */
const keptMs = 90 * 24 * hourMs;

/** Forgets dead events that were not asked for in time: they must not grow without an end. */
export function createGroupUpkeep(parts: {
  database: Pick<Database, "system">;
  log: Log;
  now: () => Date;
}): Loop {
  const { database, log, now } = parts;
  return createLoop({
    name: "the upkeep of groups",
    everyMs: hourMs,
    work: () => database.system((tx) => eraseDead(tx, new Date(now().getTime() - keptMs))),
    log,
  });
}
