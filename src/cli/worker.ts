import { createApp, type App } from "#src/app.ts";
import { partOfWorker, type Config } from "#src/config/config.ts";
import type { Log } from "#src/platform/log.ts";
import { openLink, type Link } from "#src/workers/link.ts";
import { describeFailure } from "./describe-failure.ts";
import { listen } from "./listen.ts";
import { createServiceLog } from "./log.ts";
import { openPostgres, type Postgres } from "./postgres.ts";
import { openRuntime } from "./runtime.ts";
import { untilSignal } from "./signals.ts";
import { readTls } from "./tls.ts";
import { openTracing } from "./tracing.ts";
import { letYoungMemoryGrow } from "./young-memory.ts";

/** Answers calls as one of several processes, until the primary or a signal stops this one. */
export async function work(config: Config): Promise<void> {
  const link = openLink();
  try {
    const { worker } = await link.assignment;
    await answerCalls(partOfWorker(config), link, createServiceLog(config, worker));
  } catch (error) {
    // The primary says it, once for all.
    await link.tell({ kind: "failed", problem: describeFailure(error) });
    process.exitCode = 1;
  } finally {
    link.close();
  }
}

async function answerCalls(config: Config, link: Link, log: Log): Promise<void> {
  const { port, databaseUrl } = await link.assignment;
  const tls = await readTls(config);
  await using opened = new AsyncDisposableStack();
  const tracing = await openTracing(config, log);
  opened.defer(async () => tracing?.close());
  const obtain = async (): Promise<Postgres> =>
    databaseUrl === undefined
      ? openPostgres(config, log)
      : // The primary keeps it.
        { url: databaseUrl, kind: "embedded", [Symbol.asyncDispose]: async () => undefined };
  const runtime = opened.use(await openRuntime(config, log, obtain, tracing));
  const app = await createApp(config, {
    ...runtime,
    tls,
    log,
    tracing,
    together: link.together,
    now: () => new Date(),
    monotonicNow: () => performance.now(),
  });
  const stopped = Promise.race([untilSignal(), link.stop]);
  const sendMeasures = measuring(app, config, link);
  try {
    const address = await listen("port", () => app.listen(config.host, port));
    await link.tell({ kind: "listening", address });
    letYoungMemoryGrow();
    const isStarted = await Promise.race([link.go.then(() => true), stopped.then(() => false)]);
    if (isStarted) await beReady(app, link, log);
    await stopped;
    await link.tell({ kind: "leaving" });
    log.info("worker stopping: calls on their way may finish");
  } finally {
    const finished = await app.close(config.drainSeconds * 1000);
    if (!finished) log.warn("some calls did not finish in time and were cut");
    await sendMeasures();
  }
}

async function beReady(app: App, link: Link, log: Log): Promise<void> {
  for (const loop of Object.values(app.loops)) loop.start();
  app.beReady();
  log.info({ pid: process.pid }, "worker ready");
  await link.tell({ kind: "ready" });
}

/** Has the primary told what was measured, when it asks and whenever the answered function is called. */
function measuring(app: App, { metricsPort }: Config, link: Link): () => Promise<void> {
  if (metricsPort === undefined) return async () => undefined;
  const measure = app.startMeasuring();
  const send = async () => link.tell({ kind: "measures", measures: await measure() });
  link.onMeasure(() => void send());
  return send;
}
