import type { Command } from "commander";
import { readConfig, type Flags, type RemoteFlags } from "#src/config/config.ts";
import { asking, remote, type Shown } from "./remote-commands.ts";

/** Adds the commands about the record of changes. `onDatabase` gives a command the flags that say where that is. */
export function addAuditCommands(root: Command, onDatabase: (command: Command) => Command): void {
  const audit = root.command("audit").description("the record of changes");

  onDatabase(audit.command("verify"))
    .description(
      "check that no audit event was changed, deleted or moved: in the database, a line for each organisation, or in an " +
        "exported file, which takes no database",
    )
    .argument("[file]", "an export in NDJSON; - for stdin")
    .option("--org <id>", "one organisation instead of all")
    .option(
      "--head <seq:hash>",
      "a head that was kept elsewhere, such as of an anchor, which the record must still hold",
    )
    .option("--public-key <file>", "the key in PEM that GET /api/audit/key answers; checks the signatures")
    .action(async (file: string | undefined, { org, head, publicKey, ...flags }: Flags & VerifyFlags) => {
      if (file !== undefined) {
        if (org !== undefined) throw new Error("--org is for the database; a file is of one organisation");
        const { verifyFile } = await import("./verify-file.ts");
        process.exitCode = (await verifyFile(file, { publicKey, head })) ? 0 : 1;
        return;
      }
      const config = readConfig(flags);
      const { verifyAudit } = await import("./verify-audit.ts");
      process.exitCode = (await verifyAudit(config, { orgId: org, head, publicKey })) ? 0 : 1;
    });

  remote(audit.command("tail"))
    .description("print audit events as they are recorded, a line each, until Ctrl-C")
    .option(
      "--from <place>",
      "earliest, or behind the number of the last event (default: what comes from now on)",
    )
    .option("--types <list>", "only these, such as audit.connection.*")
    .option("--data", "with the details of each")
    .action(async (flags: Shown & { from?: string; types?: string; data?: true }) => {
      const { tailEvents } = await import("./tail.ts");
      await tailEvents(["audit"], flags);
    });

  asking(audit.command("export"))
    .description("write the whole record to stdout or a file; the export is recorded, too")
    .option("--format <format>", "ndjson, which can be verified, or csv", "ndjson")
    .option("--after <number>", "only events behind this one, such as the last of an earlier export")
    .option("--since <time>", "only from the first event of this time on, such as 2026-01-31T08:00:00Z")
    .option("--until <time>", "only up to the last event before this time")
    .option("-o, --output <file>", "a new file instead of stdout")
    .action(async (flags: RemoteFlags & ExportFlags) => {
      const { exportAudit } = await import("./export-audit.ts");
      await exportAudit(flags);
    });
}

interface VerifyFlags {
  readonly org?: string;
  readonly head?: string;
  readonly publicKey?: string;
}

/** Which part of the record is exported, and to where. */
export interface ExportFlags {
  readonly format: string;
  readonly after?: string;
  readonly since?: string;
  readonly until?: string;
  readonly output?: string;
}
