import { execFileSync } from "node:child_process";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { filesBelow, publishCode, publishDeclarations } from "./published-code.ts";
import { compactDescriptors, removeUnused } from "./published-contracts.ts";
import { publishPages } from "./published-pages.ts";

// Fills clients/ with what the package of the clients holds beside its package.json.

process.chdir(join(import.meta.dirname, ".."));
const parts = ["dist", "gen", "proto", "docs", "README.md", "CHANGELOG.md", "LICENSE", "buf.yaml"];
for (const part of parts) await rm(join("clients", part), { recursive: true, force: true });

const roots = { "#src/client": "clients/dist", "#gen": "clients/gen" } as const;
execFileSync("tsc", ["--project", "tsconfig.clients.json"], { stdio: "inherit" });
await publishDeclarations("clients/dist", roots);
await publishCode(filesBelow("src/client", "clients/dist"), roots);

execFileSync("buf", ["generate", "--template", "buf.gen.clients.yaml"], { stdio: "inherit" });
await removeUnused("clients/gen", "clients/dist");
await compactDescriptors("clients/gen");

for (const part of ["proto", "buf.yaml", "LICENSE"])
  await cp(part, join("clients", part), { recursive: true });
await publishPages("clients", {
  "docs/clients.md": "README.md",
  "docs/guard.md": "docs/guard.md",
  "docs/concepts.md": "docs/concepts.md",
  "docs/errors.md": "docs/errors.md",
  "CHANGELOG.md": "CHANGELOG.md",
});
