import type { Command } from "commander";
import { settingNamed, settings, type SettingName } from "#src/config/settings.ts";

/** What the service takes. */
export const allSettings = Object.keys(settings) as SettingName[];
/** What a command needs to reach the database. */
export const databaseSettings: SettingName[] = ["dataDir", "databaseUrl"];
/** What a command needs that also opens or seals something. */
export const commandSettings: SettingName[] = [
  "dataDir",
  "databaseUrl",
  "environment",
  "rootKey",
  "rootKeyFile",
  "rootKeyUrl",
  "vaultToken",
  ...(["secondRootKey", "secondRootKeyFile", "secondRootKeyUrl"] as const),
];

/** The settings that the command takes: flags, and in the help the names of those that have none. */
export function withSettings(command: Command, names: readonly SettingName[]): Command {
  const secrets: string[] = [];
  for (const { flag, env, value, about, fallback } of names.map(settingNamed)) {
    const byDefault = fallback ? ` (default: ${fallback})` : "";
    if (flag === undefined) secrets.push(`  ${env}  ${about}`);
    else command.option(`--${flag} <${value}>`, `${about} [${env}]${byDefault}`);
  }
  return command.addHelpText(
    "after",
    `\nOnly in the environment, since flags can be seen by others:\n${secrets.join("\n")}`,
  );
}
