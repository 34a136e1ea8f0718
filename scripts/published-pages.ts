import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/**
 * Copies pages of the repository into a package, by their paths there. A link leads on to what the package holds as
 * well; of any other, only the text is left.
 */
export async function publishPages(folder: string, pages: Readonly<Record<string, string>>): Promise<void> {
  for (const [page, published] of Object.entries(pages)) {
    const text = (await readFile(page, "utf8")).replace(
      /\[([^\]]*)\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)/g,
      (_, label: string, path: string, anchor = "") => {
        const source = path === "" ? page : join(dirname(page), path);
        const target = pages[source] ?? source;
        const isHeld = source in pages || existsSync(join(folder, target));
        if (!isHeld) return label;
        return `[${label}](${path === "" ? "" : relative(dirname(published), target)}${anchor})`;
      },
    );
    const target = join(folder, published);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text);
  }
}
