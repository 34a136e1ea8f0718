import type { Config } from "#src/config/config.ts";
import { createMetrics, type Metrics } from "#src/metrics/metrics.ts";
import { createMetricsPort } from "#src/metrics/port.ts";
import { createPublicUrl } from "#src/platform/public-url.ts";
import { createCallLimiter } from "#src/ratelimit/call-limiter.ts";
import type { AppParts } from "#src/shared.ts";
import { createFleet, type Fleet } from "#src/workers/fleet.ts";
import { createMeasurements, type Measurements } from "#src/workers/measurements.ts";
import type { Address } from "#src/workers/messages.ts";
import { tryPort } from "#src/workers/try-port.ts";
import type { OpenService, StartedDemo } from "./demo.ts";
import { introduce } from "./introduce.ts";
import { listen } from "./listen.ts";
import { createServiceLog } from "./log.ts";
import { openRuntime } from "./runtime.ts";
import { untilSignal } from "./signals.ts";
import { readTls } from "./tls.ts";
import { letYoungMemoryGrow } from "./young-memory.ts";

/** What a worker may take to end, beyond the time that its calls have. */
const lastWritesMs = 15_000;

/** Starts the workers and keeps what they share, until a signal stops the service. It answers no calls itself. */
export async function lead(config: Config): Promise<void> {
  const log = createServiceLog(config);
  const parts = { tls: await readTls(config), log, now: () => new Date() };
  const metrics = createMetrics();
  await using opened = new AsyncDisposableStack();
  const runtime = opened.use(await openRuntime({ ...config, databasePoolSize: 2 }, log));
  const callLimiter = await createCallLimiter({ ...config, ...parts, meter: metrics });
  opened.defer(() => callLimiter.close());
  const measurements = createMeasurements();
  const fleet = createFleet({
    size: config.workers,
    assignment: {
      // Workers that come later must find the same one.
      port: await listen("port", () => tryPort(config.host, config.port)),
      databaseUrl: config.databaseUrl === undefined ? runtime.ownerUrl : undefined,
    },
    callLimiter,
    measurements,
    stopMs: config.drainSeconds * 1000 + lastWritesMs,
    log,
  });
  metrics.gauge({
    name: "patchbay_workers",
    help: "Workers that take connections.",
    read: () => fleet.serving(),
  });
  const metricsPort = createMetricsPort(metricsOfAll(metrics, fleet, measurements), log);

  let demo: StartedDemo | undefined;
  try {
    const address = await fleet.start();
    // As with one process: from here on, an end at once could leave a first start half done.
    const stopped = untilSignal();
    const { host, metricsPort: port, environment, workers } = config;
    const scraped =
      port === undefined ? undefined : await listen("metricsPort", () => metricsPort.listen(host, port));
    demo = await introduce(
      openService(config, { ...runtime, ...parts }, address),
      runtime,
      config,
      address,
      log,
    );
    // The workers have connections of their own.
    await runtime.database.close();
    await fleet.go();
    letYoungMemoryGrow();
    log.info({ ...address, environment, workers, metricsPort: scraped?.port }, "ready");
    const signal = await Promise.race([stopped, fleet.broken]);
    log.info({ signal }, "stopping: calls on their way may finish");
  } finally {
    await fleet.stop();
    metricsPort.close();
    // Only now: calls on their way may have needed it.
    await demo?.close();
  }
}

/** What is scraped: the primary and all workers. */
function metricsOfAll(own: Metrics, fleet: Fleet, measurements: Measurements) {
  return {
    watchProcess: () => own.watchProcess(),
    async render() {
      await fleet.measure();
      return measurements.render(await own.measure());
    },
  };
}

/** The service without a port, for what a first start makes. */
function openService(config: Config, parts: Omit<AppParts, "monotonicNow">, address: Address): OpenService {
  return async () => {
    const { createApp } = await import("#src/app.ts");
    const publicUrl = createPublicUrl(config.publicUrl, parts.tls !== undefined);
    publicUrl.opened(address);
    const app = await createApp(
      { ...config, publicUrl: publicUrl.current() },
      { ...parts, monotonicNow: () => performance.now() },
    );
    return { call: app.call, [Symbol.asyncDispose]: async () => void (await app.close(0)) };
  };
}
