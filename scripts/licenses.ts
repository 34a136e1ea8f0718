import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

// Texts that packages leave out: of a license that names no holder, by its SPDX name, or by the package's own.
const keptTexts = "scripts/licenses";

/** What whoever passes on the files of packages must pass on with them: a section for each package. */
export function licensesOf(files: readonly string[]): string {
  const packages = Map.groupBy(files, (file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]);
  const sections = [...packages]
    .flatMap(([folder, itsFiles]) => (folder === undefined ? [] : [{ folder, itsFiles }]))
    .toSorted((a, b) => (nameIn(a.folder) < nameIn(b.folder) ? -1 : 1))
    .map(({ folder, itsFiles }) => sectionOf(folder, itsFiles));
  return `${sections.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

function sectionOf(folder: string, files: readonly string[]): string {
  const { name, version, license } = manifestIn(folder);
  const own = licenseFilesIn(folder);
  const kept = [name, ...(own.length > 0 ? [] : spdxNames(license))]
    .map((text) => join(keptTexts, `${text}.txt`))
    .filter((file) => existsSync(file));
  if (own.length + kept.length === 0) {
    throw new Error(
      `${name} contains no text of its license (${license}): put it from its repository in ${keptTexts}/${name}.txt`,
    );
  }
  const parts = [...foldersBetween(folder, files)].flatMap(licenseFilesIn);
  const texts = [...own, ...kept, ...parts].map((file) => readFileSync(file, "utf8").trim());
  return [`${name} ${version}, ${license}`, ...texts, ...noticesIn(files)].join("\n\n");
}

/** Of its package, which may lie in the folder of another one that asks for an older version. */
function nameIn(folder: string): string {
  return folder.slice(folder.lastIndexOf("node_modules/"));
}

function manifestIn(folder: string) {
  const text = readFileSync(join(folder, "package.json"), "utf8");
  return JSON.parse(text) as { name: string; version: string; license: string };
}

/** By reading the folder: a pattern in two spellings finds a file twice where the file system ignores case. */
function licenseFilesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /^(licen[sc]e|notice|copying)/i.test(entry.name))
    .map((entry) => join(folder, entry.name));
}

function spdxNames(expression: string): string[] {
  return expression.match(/[\w.-]+/g) ?? [];
}

/** The folders that hold the files, below the package's own: what was taken over from others has its license there. */
function foldersBetween(folder: string, files: readonly string[]): Set<string> {
  const folders = new Set<string>();
  for (const file of files) {
    for (let above = dirname(file); relative(folder, above) !== ""; above = dirname(above))
      folders.add(above);
  }
  return folders;
}

/** The comments that speak of a copyright or a license, each once. In the bundle there are no comments. */
function noticesIn(files: readonly string[]): Set<string> {
  const comments = files.flatMap(
    (file) => readFileSync(file, "utf8").match(/\/\*[^]*?\*\/|(?:^[ \t]*\/\/.*\n?)+/gm) ?? [],
  );
  return new Set(comments.filter((text) => /copyright|licen[sc]e/i.test(text)).map((text) => text.trim()));
}
