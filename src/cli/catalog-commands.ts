import type { Command } from "commander";
import { remote, type Shown } from "./remote-commands.ts";

/** Adds the commands about what connected services offer. */
export function addCatalogCommands(root: Command): void {
  const catalog = root.command("catalog").description("what connected services offer");

  remote(catalog.command("list"))
    .description("the connected services, and how many operations of each are known")
    .action(async (flags: Shown) => {
      const { listServices } = await import("./catalog.ts");
      await listServices(flags);
    });

  remote(catalog.command("show"))
    .description("the operations of a service, or one operation with its schemas")
    .argument("<service or operation>", "such as aml, or aml/submitSarFiling")
    .action(async (wanted: string, flags: Shown) => {
      const { show } = await import("./catalog.ts");
      await show(wanted, flags);
    });

  remote(catalog.command("search"))
    .description("operations of connected services whose name, path or description has these words")
    .argument("[words...]", "all of which have to be found, each as the beginning of a word")
    .option("--slug <service>", "of this service only")
    .option("--method <method>", "with this HTTP method only")
    .option("--scope <scope>", "that need this scope only")
    .action(async (words: string[], flags: Shown & SearchFlags) => {
      const { search } = await import("./catalog.ts");
      await search(words.join(" "), flags);
    });

  remote(catalog.command("import"))
    .description("take what a service offers from its OpenAPI document; what cannot be imported is listed")
    .argument("<file>", "JSON or YAML; a URL, which the service fetches; or - for stdin")
    .requiredOption("--slug <service>", "such as custom:bank, which need not be there yet, or aml")
    .option("--dry-run", "change nothing, and fail with code 3 if callers would have to change")
    .action(async (file: string, flags: Shown & ImportFlags) => {
      const { importDocument, previewImport } = await import("./catalog-import.ts");
      if (flags.dryRun) process.exitCode = await previewImport(file, flags);
      else await importDocument(file, flags);
    });

  remote(catalog.command("refresh"))
    .description("compare what a service publishes of itself; fails with code 3 if callers have to change")
    .argument("<service>", "such as aml or custom:bank")
    .option("--connection <connection>", "slug or id, if it is not the one that has the service's slug")
    .option("--apply", "import it, if it differs")
    .option("--daily <on|off>", "compare it each day from now on, or no more")
    .action(async (slug: string, flags: Shown & RefreshFlags) => {
      const { refreshCatalog } = await import("./catalog-import.ts");
      process.exitCode = await refreshCatalog(slug, flags);
    });

  remote(catalog.command("revisions"))
    .description("the imports of a service that are kept; of one, what was left out")
    .argument("<service>", "such as aml or custom:bank")
    .argument("[revision]", "its number")
    .action(async (slug: string, revision: string | undefined, flags: Shown) => {
      const { listRevisions, showRevision } = await import("./catalog-revisions.ts");
      await (revision === undefined ? listRevisions(slug, flags) : showRevision(slug, revision, flags));
    });

  remote(catalog.command("activate"))
    .description("put a kept import in force, such as the previous one")
    .argument("<service>", "such as aml or custom:bank")
    .argument("<revision>", "its number; 0 for what comes with Patchbay")
    .action(async (slug: string, revision: string, flags: Shown) => {
      const { activateRevision } = await import("./catalog-revisions.ts");
      await activateRevision(slug, revision, flags);
    });

  remote(catalog.command("types"))
    .description("TypeScript types of a service's operations, on stdout")
    .requiredOption("--slug <service>", "such as aml or custom:bank")
    .action(async ({ slug, ...flags }: Shown & { slug: string }) => {
      const { printTypes } = await import("./catalog.ts");
      await printTypes(slug, flags);
    });
}

/** What is sought. */
export interface SearchFlags {
  readonly slug?: string;
  readonly method?: string;
  readonly scope?: string;
}

/** How a document is imported. */
export interface ImportFlags {
  readonly slug: string;
  readonly dryRun?: true;
}

/** How a service's own document is asked for. */
export interface RefreshFlags {
  readonly connection?: string;
  readonly apply?: true;
  readonly daily?: string;
}
