import cluster from "node:cluster";
import type { Config } from "#src/config/config.ts";
import { createServiceLog } from "./log.ts";
import { openPostgres } from "./postgres.ts";
import { openRuntime } from "./runtime.ts";
import { readTls } from "./tls.ts";
import { openTracing } from "./tracing.ts";
import { keepYoungMemorySmall, makeObjectsYoung } from "./young-memory.ts";

/** Runs the service until a signal stops it. */
export async function start(config: Config): Promise<void> {
  makeObjectsYoung();
  keepYoungMemorySmall();
  if (config.workers > 1) return startTogether(config);
  const log = createServiceLog(config);
  const tls = await readTls(config);
  await using opened = new AsyncDisposableStack();
  const tracing = await openTracing(config, log);
  opened.defer(async () => tracing?.close());
  const obtain = () => openPostgres(config, log, () => void load().catch(() => undefined));
  const runtime = opened.use(await openRuntime(config, log, obtain, tracing));
  const { serve } = await load();
  await serve(config, { ...runtime, tls, log, tracing });
}

/** The primary runs the same program again, once for each worker. */
async function startTogether(config: Config): Promise<void> {
  if (cluster.isPrimary) {
    const { lead } = await import("./primary.ts");
    return lead(config);
  }
  const { work } = await import("./worker.ts");
  return work(config);
}

/** Most of the code is here, and takes as long to load as an embedded Postgres to start. */
const load = () => import("./serve.ts");
