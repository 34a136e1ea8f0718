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

  remote(catalog.command("types"))
    .description("TypeScript types of a service's operations, on stdout")
    .requiredOption("--slug <service>", "such as aml or custom:bank")
    .action(async ({ slug, ...flags }: Shown & { slug: string }) => {
      const { printTypes } = await import("./catalog.ts");
      await printTypes(slug, flags);
    });
}
