import type { Database } from "#src/db/database.ts";
import { sql } from "#src/db/drizzle.cjs";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";

const lookEveryMs = 60_000;
/** They are announced under the lock of their organisation's log, which others wait for. */
const atOnce = 200;

/** Says of keys that they end soon, or ended. Any replica may do it, at any time: what was said is not said again. */
export function createKeyEnds(parts: {
  database: Pick<Database, "system">;
  environment: Environment;
  log: Log;
  now: () => Date;
}): Loop {
  const { database, environment, log, now } = parts;

  async function announce(): Promise<number> {
    const [row] = await database.system((tx) =>
      tx.execute<{ announced: number }>(
        sql`select announce_key_ends(${environment}, ${now().toISOString()}::timestamptz, ${atOnce}) as announced`,
      ),
    );
    return row?.announced ?? 0;
  }

  return createLoop({
    name: "the look for keys that end",
    everyMs: lookEveryMs,
    async work(signal) {
      while (!signal.aborted && (await announce()) === atOnce);
    },
    log,
  });
}
