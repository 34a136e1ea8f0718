import type { Config } from "#src/config/config.ts";
import type { Log } from "#src/platform/log.ts";
import { writeAdminKey } from "./admin-key.ts";
import { banner } from "./banner.ts";
import { startDemo, type OpenService, type StartedDemo } from "./demo.ts";
import { foundFirstOrganization } from "./found-organization.ts";
import type { Runtime } from "./runtime.ts";

/**
 * Makes what a first start makes, and shows where things are. A function of its own, so that nothing refers to the
 * admin key any more once it was shown.
 */
export async function introduce(
  open: OpenService,
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
    config.databaseUrl === undefined ? await startDemo(open, config, founding?.admin, log) : undefined;
  process.stdout.write(
    banner({ config, address, rootKeyCreated: runtime.rootKeyCreated, founding, adminKeyFile, demo }),
  );
  return demo;
}
