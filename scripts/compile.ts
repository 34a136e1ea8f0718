import { readFile, rm } from "node:fs/promises";
import { filesBelow, publishCode } from "./published-code.ts";

// Fills dist/ with what the published service runs. The clients are a package of their own: compile-clients.ts.

await rm("dist", { recursive: true, force: true });
const files = filesBelow("src", "dist");
const own = files.filter(({ from }) => !from.startsWith("src/client/"));
const shared = await importedOfClients(own.map(({ from }) => from));
await publishCode([...own, ...files.filter(({ from }) => shared.has(from))], {
  "#src": "dist",
  "#gen": "gen",
});

/** What the service imports of the clients' code, such as the list of services. */
async function importedOfClients(paths: readonly string[]): Promise<Set<string>> {
  const imported = new Set<string>();
  for (const path of paths.filter((file) => file.endsWith(".ts"))) {
    const imports = (await readFile(path, "utf8")).matchAll(/"#(src\/client\/[^"]+)"/g);
    for (const [, file = ""] of imports) imported.add(file);
  }
  return imported;
}
