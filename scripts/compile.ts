import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, relative } from "node:path";

// Fills dist/ with what the published package runs: Node strips no types below node_modules. The types are
// erasable, so stripping them is the whole compilation, and each line keeps its number.

await rm("dist", { recursive: true, force: true });
execFileSync("tsc", ["--project", "tsconfig.build.json"], { stdio: "inherit" });

for (const file of globSync("dist/**/*.d.ts")) {
  await writeFile(file, withPublishedImports(await readFile(file, "utf8"), file));
}
for (const file of globSync("src/**/*.*")) {
  const target = join("dist", relative("src", file));
  await mkdir(dirname(target), { recursive: true });
  if (file.endsWith(".ts")) {
    const published = target.replace(/\.ts$/, ".js");
    await writeFile(
      published,
      withPublishedImports(stripTypeScriptTypes(await readFile(file, "utf8")), published),
    );
  } else {
    await cp(file, target);
  }
}

/** Relative imports of .js files, which every runtime, bundler and TypeScript resolves alike. */
function withPublishedImports(code: string, file: string): string {
  const toFolder = (folder: string) => {
    const path = relative(dirname(file), folder);
    return path.startsWith(".") ? path : `./${path}`;
  };
  return code.replace(
    /(\bfrom |\bimport |\bimport\()"(#src|#gen|\.{1,2})\/([^"]+)"/g,
    (_, keyword: string, root: string, path: string) => {
      const folder = root === "#src" ? toFolder("dist") : root === "#gen" ? toFolder("gen") : root;
      return `${keyword}"${folder}/${path.replace(/\.ts$/, ".js")}"`;
    },
  );
}
