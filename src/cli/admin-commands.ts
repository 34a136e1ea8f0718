import type { Command } from "commander";
import { readConfig, type Flags } from "#src/config/config.ts";
import { commandSettings, databaseSettings, withSettings } from "./setting-flags.ts";

/** Whose key is meant. */
interface WhichOrg {
  readonly org?: string;
  readonly all?: true;
}

/** Adds the commands about the keys that everything is sealed under. They work beside a running service, and without. */
export function addAdminCommands(root: Command): void {
  const admin = root.command("admin").description("the keys that everything is sealed under");

  withSettings(admin.command("rotate-kek"), commandSettings)
    .description("give an organisation a new key: seal everything anew, and destroy the earlier key")
    .option("--org <id>", "the organisation; needed if there are several")
    .option("--all", "all organisations")
    .action(async ({ org, all, ...flags }: Flags & WhichOrg) => {
      const config = readConfig(flags);
      const { rotateKeys } = await import("./admin.ts");
      process.exitCode = (await rotateKeys(config, { orgId: org, all: all === true })) ? 0 : 1;
    });

  withSettings(admin.command("rewrap-root"), commandSettings)
    .description(
      "wrap all keys with the root key that the second root key wrapped; afterwards that one may go",
    )
    .action(async (flags: Flags) => {
      const config = readConfig(flags);
      const { rewrapRoot } = await import("./admin.ts");
      process.exitCode = (await rewrapRoot(config)) ? 0 : 1;
    });

  withSettings(admin.command("shred"), databaseSettings)
    .description("destroy an organisation's keys: nothing that it stored can be read again, by anybody")
    .argument("<org>", "its id")
    .option("--confirm <org>", "its id again")
    .action(async (org: string, { confirm, ...flags }: Flags & { confirm?: string }) => {
      const config = readConfig(flags);
      const { shred } = await import("./shred.ts");
      await shred(config, org, confirm);
    });
}
