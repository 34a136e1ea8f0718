import { createApp, type App } from "#src/app.ts";
import { invalidSetting, type Config } from "#src/config/config.ts";
import type { Demo } from "#src/demo/demo.ts";
import { writeAdminKey } from "./admin-key.ts";
import { banner } from "./banner.ts";
import { startDemo } from "./demo.ts";
import { foundFirstOrganization } from "./found-organization.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { openRuntime } from "./runtime.ts";
import { untilSignal } from "./signals.ts";
import { readTls } from "./tls.ts";

/** Runs the service until it is told to stop. */
export async function start(config: Config): Promise<void> {
  const stopped = untilSignal();
  const log = createLog(config.logLevel, fileDescriptor(1), {
    style: process.stdout.isTTY ? "readable" : "json",
    legacyPrefixes: config.legacyPrefixes,
  });
  const tls = await readTls(config);

  await using runtime = await openRuntime(config, log);
  const app = await createApp(config, {
    ...runtime,
    tls,
    log,
    now: () => new Date(),
    monotonicNow: () => performance.now(),
  });
  let demo: Demo | undefined;
  try {
    // Before anything is founded: a start that ends here is no first start yet.
    const address = await listen("port", () => app.listen(config.host, config.port));
    const metrics = await listenForMetrics(app, config);
    let adminKeyFile: string | undefined;
    const founding = await foundFirstOrganization(runtime, config.environment, async (secret) => {
      // Only a terminal shows the key. What else reads stdout may keep it, as container logs do.
      if (!process.stdout.isTTY) adminKeyFile = await writeAdminKey(config, secret);
    });
    if (config.databaseUrl === undefined) demo = await startDemo(app, config, founding?.admin, log);
    process.stdout.write(
      banner({ config, address, rootKeyCreated: runtime.rootKeyCreated, founding, adminKeyFile, demo }),
    );
    app.healthSweep.start();
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
