import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The links of a page that lead to no file, or to no heading in it. */
export function brokenLinks(page: string): string[] {
  const links = readFileSync(page, "utf8").matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g);
  const broken = [...links].filter(([, path = "", anchor]) => {
    const target = path === "" ? page : join(dirname(page), path);
    return !existsSync(target) || (anchor !== undefined && !anchorsOf(target).includes(anchor));
  });
  return broken.map(([link]) => link);
}

/** The broken links of all pages of a package, by their pages. */
export function brokenLinksIn(folder: string): Record<string, string[]> {
  const pages = globSync("**/*.md", { cwd: folder });
  const broken = pages.map((page) => [page, brokenLinks(join(folder, page))] as const);
  return Object.fromEntries(broken.filter(([, links]) => links.length > 0));
}

/** Headings as they are linked to: in lower case, hyphens for spaces, without other signs. */
function anchorsOf(page: string): string[] {
  const headings = readFileSync(page, "utf8").matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}
