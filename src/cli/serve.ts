import { createApp, type App } from "#src/app.ts";
import type { AppParts } from "#src/shared.ts";
import type { Config } from "#src/config/config.ts";
import type { StartedDemo } from "./demo.ts";
import { introduce } from "./introduce.ts";
import { listen } from "./listen.ts";
import type { Runtime } from "./runtime.ts";
import { untilSignal } from "./signals.ts";
import { letYoungMemoryGrow } from "./young-memory.ts";

/** Answers calls until a signal stops the service. */
export async function serve(
  config: Config,
  parts: Runtime & Pick<AppParts, "tls" | "log" | "tracing">,
): Promise<void> {
  const { log } = parts;
  const app = await createApp(config, {
    ...parts,
    now: () => new Date(),
    monotonicNow: () => performance.now(),
  });
  // Before this, a stop ends the process at once. From here on, that could leave a first start half done.
  const stopped = untilSignal();
  // Closed below, and not by whom it is lent to.
  const service = { call: app.call, [Symbol.asyncDispose]: async () => undefined };
  let demo: StartedDemo | undefined;
  try {
    // Before anything is founded: a start that fails here does not count as the first.
    const address = await listen("port", () => app.listen(config.host, config.port));
    const metrics = await listenForMetrics(app, config);
    demo = await introduce(async () => service, parts, config, address, log);
    for (const loop of Object.values(app.loops)) loop.start();
    letYoungMemoryGrow();
    // Last: a script that waits for it may go on with the admin key.
    app.beReady();
    log.info({ ...address, environment: config.environment, metricsPort: metrics?.port }, "ready");

    log.info({ signal: await stopped }, "stopping: calls on their way may finish");
  } finally {
    const finished = await app.close(config.drainSeconds * 1000);
    if (!finished) log.warn("some calls did not finish in time and were cut");
    // Only now: calls on their way may have needed it.
    await demo?.close();
  }
}

async function listenForMetrics(app: App, { host, metricsPort: port }: Config) {
  return port === undefined ? undefined : listen("metricsPort", () => app.listenForMetrics(host, port));
}
