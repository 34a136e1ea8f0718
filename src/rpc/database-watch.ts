import type { Database } from "#src/db/database.ts";
import type { Log } from "#src/platform/log.ts";
import { createLoop, type Loop } from "#src/platform/loop.ts";
import type { Readiness } from "./grpc-health.ts";

const everyMs = 1_000;

/** Sees to it that load balancers learn when the database is away, and when it is back. */
export function createDatabaseWatch(parts: {
  database: Pick<Database, "answers">;
  readiness: Pick<Readiness, "setDatabaseAnswers">;
  log: Log;
}): Loop {
  const { database, readiness, log } = parts;
  let answered = true;
  return createLoop({
    ...{ name: "the watch of the database", everyMs, log },
    async work(signal) {
      const answers = await database.answers();
      // A stop closes the database, which is no news.
      if (signal.aborted || answers === answered) return;
      answered = answers;
      readiness.setDatabaseAnswers(answers);
      if (answers) log.info("ready again: the database answers");
      else log.warn("not ready: the database does not answer");
    },
  });
}
