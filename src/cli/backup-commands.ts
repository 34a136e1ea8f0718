import type { Command } from "commander";
import { readConfig, type Flags } from "#src/config/config.ts";
import { commandSettings, withSettings } from "./setting-flags.ts";

/** Adds the commands that keep the database in a file, and bring it back. */
export function addBackupCommands(root: Command): void {
  withSettings(root.command("backup"), commandSettings)
    .description(
      "write the whole database, as it is at this moment, to one file; the service may go on running",
    )
    .argument("<file>", "which must not be there yet")
    .action(async (file: string, flags: Flags) => {
      const config = readConfig(flags);
      const { backUp } = await import("./backup.ts");
      await backUp(config, file);
    });

  withSettings(root.command("restore"), commandSettings)
    .description("make the database that a backup holds, in an empty place, and verify it")
    .argument("<file>", "what `patchbay backup` wrote")
    .option("--check", "only read the file, and say whether it is whole and what it holds")
    .action(async (file: string, { check, ...flags }: Flags & { check?: true }) => {
      const config = readConfig(flags);
      const { checkBackup, restore } = await import("./restore.ts");
      await (check ? checkBackup(config, file) : restore(config, file));
    });
}
