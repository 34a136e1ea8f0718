import { globSync } from "node:fs";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join, relative } from "node:path";

/** Where the code lies in the package that an import such as `#gen/…` leads to, by the beginning of the import. */
export type Roots = Readonly<Record<`#${string}`, string>>;

/**
 * Copies code for a package: Node strips no types below node_modules. The types are erasable, so stripping them is the
 * whole compilation, and each line keeps its number.
 */
export async function publishCode(files: readonly Copied[], roots: Roots): Promise<void> {
  for (const { from, to } of files) {
    await mkdir(dirname(to), { recursive: true });
    if (from.endsWith(".ts")) {
      const target = to.replace(/\.ts$/, ".js");
      const code = stripTypeScriptTypes(await readFile(from, "utf8"));
      await writeFile(target, withPublishedImports(code, target, roots));
    } else {
      await cp(from, to);
    }
  }
}

/** A file of the repository, and its copy in a package. */
export interface Copied {
  readonly from: string;
  readonly to: string;
}

/** All files below a folder, with the same paths below another one. */
export function filesBelow(folder: string, target: string): Copied[] {
  return globSync(`${folder}/**/*.*`).map((from) => ({ from, to: join(target, relative(folder, from)) }));
}

/** Lets the declarations in a folder import what is published. */
export async function publishDeclarations(folder: string, roots: Roots): Promise<void> {
  for (const file of globSync(`${folder}/**/*.d.ts`)) {
    await writeFile(file, withPublishedImports(await readFile(file, "utf8"), file, roots));
  }
}

/** Relative imports of .js files, which every runtime, bundler and TypeScript resolves alike. */
function withPublishedImports(code: string, file: string, roots: Roots): string {
  return code.replace(
    /(\bfrom |\bimport |\bimport\()"((?:#|\.{1,2}\/)[^"]+)"/g,
    (_, keyword: string, specifier: string) =>
      `${keyword}"${published(specifier, file, roots).replace(/\.ts$/, ".js")}"`,
  );
}

function published(specifier: string, file: string, roots: Roots): string {
  if (!specifier.startsWith("#")) return specifier;
  const root = Object.entries(roots).find(([beginning]) => specifier.startsWith(`${beginning}/`));
  if (root === undefined) throw new Error(`${file} imports ${specifier}, which is not published with it`);
  const [beginning, folder] = root;
  const path = relative(dirname(file), join(folder, specifier.slice(beginning.length)));
  return path.startsWith(".") ? path : `./${path}`;
}
