import { Command } from "commander";
import { readConfig, type Flags } from "#src/config/config.ts";
import { addAdminCommands } from "./admin-commands.ts";
import { addAuditCommands } from "./audit-commands.ts";
import { addBackupCommands } from "./backup-commands.ts";
import { addCatalogCommands } from "./catalog-commands.ts";
import { addChannelCommands } from "./channel-commands.ts";
import { describeFailure } from "./describe-failure.ts";
import { addEventCommands } from "./event-commands.ts";
import { addRemoteCommands } from "./remote-commands.ts";
import { addWebhookCommands } from "./webhook-commands.ts";
import { allSettings, commandSettings, databaseSettings, withSettings } from "./setting-flags.ts";
import { version } from "./version.ts";

/** Reads the command line and does what it says. A failure ends with one line that says what to change. */
export async function runCli(argv: readonly string[]): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreEndOfReader);
  try {
    await program().parseAsync(argv);
  } catch (error) {
    process.stderr.write(`patchbay: ${describeFailure(error)}\n`);
    process.exitCode = 1;
  }
}

/** Who reads what is printed may have enough of it, as `head` does. That is no failure. */
function ignoreEndOfReader(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

/** Each command loads its own code once its settings are good: loading takes longer than all earlier steps. */
function program(): Command {
  const root = new Command("patchbay")
    .description("Keeps credentials of services, makes calls with them, and issues API keys.")
    .version(version());

  withSettings(root.command("start"), allSettings)
    .description("run the service; the first start makes an organisation and an admin key")
    .action(async (flags: Flags) => {
      const config = readConfig(flags);
      const { start } = await import("./start.ts");
      await start(config);
    });

  withSettings(root.command("doctor"), allSettings)
    .description("check what the service needs, and say what to do about what is missing; changes nothing")
    .action(async (flags: Flags) => {
      const { doctor } = await import("./doctor/doctor.ts");
      process.exitCode = (await doctor(flags)) ? 0 : 1;
    });

  root
    .command("integrations")
    .description("what can be connected")
    .command("list")
    .description(
      "what comes with Patchbay: slug, name, and the ways to sign in (in brackets what is not supported)",
    )
    .option("--presets", "well-known services only, and no sibling products")
    .action(async ({ presets = false }: { presets?: boolean }) => {
      const { listIntegrations } = await import("./integrations.ts");
      listIntegrations({ onlyPresets: presets });
    });

  withSettings(root.command("org").description("organisations").command("create"), commandSettings)
    .description("make an organisation with an admin key, whose secret is shown once, on stdout")
    .argument("<name>", "what people call it")
    .action(async (name: string, flags: Flags) => {
      const config = readConfig(flags);
      const { createOrganization } = await import("./administer.ts");
      await createOrganization(config, name);
    });

  withSettings(root.command("keys").description("API keys").command("create"), commandSettings)
    .description("issue an API key, whose secret is shown once, on stdout")
    .option("--org <id>", "the organisation; needed if there are several")
    .requiredOption("--name <name>", "what people call the key")
    .requiredOption("--scopes <list>", "separated by commas, such as connections:view,connections:use")
    .action(async (flags: Flags & { org?: string; name: string; scopes: string }) => {
      const config = readConfig(flags);
      const scopes = flags.scopes.split(",").map((scope) => scope.trim());
      const { createKey } = await import("./administer.ts");
      await createKey(config, { orgId: flags.org, name: flags.name, scopes });
    });

  addAdminCommands(root);
  addAuditCommands(root, (command) => withSettings(command, databaseSettings));
  addBackupCommands(root);
  addRemoteCommands(root);
  addCatalogCommands(root);
  addChannelCommands(root);
  addWebhookCommands(root);
  addEventCommands(root);
  return root;
}
