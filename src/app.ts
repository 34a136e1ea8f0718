import type { CallUnary } from "#src/pipeline/call-unary.ts";
import { createRefusals } from "#src/audit/refusals.ts";
import type { Config } from "#src/config/config.ts";
import { createMetrics, type Measures } from "#src/metrics/metrics.ts";
import { meterReadiness } from "#src/metrics/resources.ts";
import { createMetricsPort } from "#src/metrics/port.ts";
import { createDatabaseWatch } from "#src/rpc/database-watch.ts";
import { createReadiness } from "#src/rpc/grpc-health.ts";
import type { Loop } from "#src/platform/loop.ts";
import { createFeatures, type Features } from "./features.ts";
import { createShared, type AppParts } from "./shared.ts";
import { createSurfaces } from "./surfaces.ts";

/** The running service. */
export interface App {
  /** Opens the port. Calls are answered from here on. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Serves its metrics, on a port of their own. */
  listenForMetrics(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Measures this process as well, and answers how to read all of it: for a worker, whose primary serves it. */
  startMeasuring(): () => Promise<Measures>;
  /** Says to load balancers and scripts that calls are welcome: /readyz answers 200. */
  beReady(): void;
  /** What goes on while nobody calls, once it is started. */
  readonly loops: Features["loops"] & { readonly readiness: Loop };
  /** For calls that the service makes to itself. */
  readonly call: CallUnary;
  /** Takes no more calls, lets those on their way finish, and writes what is still in memory. */
  close(graceMs: number): Promise<boolean>;
}

/** Builds the service. */
export async function createApp(config: Config, parts: AppParts): Promise<App> {
  const metrics = createMetrics();
  const metricsPort = createMetricsPort(metrics, parts.log);
  const readiness = createReadiness();
  meterReadiness(metrics, readiness);
  const shutdown = new AbortController();
  // Closed as well if the rest of this function fails: open sockets would keep the process from ending.
  await using opened = new AsyncDisposableStack();
  const shared = await createShared(config, { ...parts, meter: metrics }, opened);
  const { all, verification, stopWaiting, ...features } = await createFeatures(shared);
  const loops = { ...features.loops, readiness: createDatabaseWatch({ ...shared, readiness }) };
  for (const feature of all) opened.defer(() => feature.close?.());

  const refusals = createRefusals(shared);
  opened.defer(() => refusals.close());
  const { call, leaks, port } = createSurfaces({
    ...shared,
    refusals,
    config,
    features: all,
    verification,
    readiness,
    shutdownSignal: shutdown.signal,
    answered: metrics.requestAnswered,
  });
  opened.defer(() => leaks.close());

  const closing = opened.move();
  return {
    call,
    loops,
    listen: async (host, number) => shared.publicUrl.opened(await port.listen(host, number)),
    beReady: () => readiness.set(true),
    startMeasuring() {
      metrics.watchProcess();
      return () => metrics.measure();
    },
    listenForMetrics: (host, number) => metricsPort.listen(host, number),
    async close(graceMs) {
      readiness.set(false);
      stopWaiting();
      try {
        const stopped = Object.values(loops).map((loop) => loop.stop());
        return (await Promise.all([port.drain(graceMs), ...stopped]))[0];
      } finally {
        shutdown.abort();
        await closing.disposeAsync();
        metricsPort.close();
      }
    },
  };
}
