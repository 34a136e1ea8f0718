import { createApp, type App } from "#src/app.ts";
import type { AppParts } from "#src/shared.ts";
import { invalidSetting, type Config } from "#src/config/config.ts";
import type { Log } from "#src/platform/log.ts";
import { writeAdminKey } from "./admin-key.ts";
import { banner } from "./banner.ts";
import { startDemo, type StartedDemo } from "./demo.ts";
import { foundFirstOrganization } from "./found-organization.ts";
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
  let demo: StartedDemo | undefined;
  try {
    // Before anything is founded: a start that fails here does not count as the first.
    const address = await listen("port", () => app.listen(config.host, config.port));
    const metrics = await listenForMetrics(app, config);
    demo = await introduce(app, parts, config, address, log);
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

/**
 * Makes what a first start makes, and shows where things are. A function of its own, so that nothing refers to the
 * admin key any more once it was shown.
 */
async function introduce(
  app: App,
  runtime: Runtime,
  config: Config,
  address: { host: string; port: number },
  log: Log,
): Promise<StartedDemo | undefined> {
  let adminKeyFile: string | undefined;
  const founding = await foundFirstOrganization(runtime, config.environment, async (secret) => {
    // Only a terminal shows the key. Other readers of stdout, such as container logs, may keep it.
    if (!process.stdout.isTTY) adminKeyFile = await writeAdminKey(config, secret);
  });
  const demo =
    config.databaseUrl === undefined ? await startDemo(app, config, founding?.admin, log) : undefined;
  process.stdout.write(
    banner({ config, address, rootKeyCreated: runtime.rootKeyCreated, founding, adminKeyFile, demo }),
  );
  return demo;
}

async function listenForMetrics(app: App, { host, metricsPort: port }: Config) {
  return port === undefined ? undefined : listen("metricsPort", () => app.listenForMetrics(host, port));
}

/** Opens the port that the setting names. */
async function listen<T>(setting: "port" | "metricsPort", open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const { message, cause } = error as Error;
    const { code } = cause as NodeJS.ErrnoException;
    throw invalidSetting(code === "EADDRINUSE" || code === "EACCES" ? setting : "host", message);
  }
}
