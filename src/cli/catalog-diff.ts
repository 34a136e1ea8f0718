import type { CatalogDiff, ImportProblem } from "#src/client/node.ts";
import { printable } from "./print.ts";

/** As many lines of one kind as a person reads; `--json` has all. */
const maxLines = 20;

/** How many operations there are. */
export function operationsText(count: number): string {
  return count === 1 ? "1 operation" : `${count} operations`;
}

/** How a document differs from what was in force: what is new, changed and gone, and what of the integration changes. */
export function diffText({ added, changed, removed, definition }: CatalogDiff): string {
  return [
    linesOf(added, (operation) => [`+ ${operation}`]),
    linesOf(changed, ({ operation, breaking, what }) => [
      `~ ${operation}${breaking ? ", breaking" : ""}`,
      ...what.map((one) => `    ${one}`),
    ]),
    linesOf(removed, (operation) => [`- ${operation}, breaking`]),
    linesOf(definition, (what) => [`* ${what}`]),
  ].join("");
}

/** How much of it there is, in one line. */
export function diffSummary({ added, changed, removed, breaking }: CatalogDiff): string {
  if (added.length + changed.length + removed.length === 0) return "no operation differs";
  const counts = `${added.length} added, ${changed.length} changed, ${removed.length} removed`;
  return breaking ? `${counts}; callers may have to change` : counts;
}

/** What of a document was left out or is wrong, each with its place. There may be more than are at hand. */
export function problemsText(problems: readonly ImportProblem[], count: number, most = maxLines): string {
  if (count === 0) return "";
  const lines = linesOf(problems, problemText, { most, count });
  return `left out, or wrong: ${count}\n${lines}`;
}

function problemText({ pointer, line, reason }: ImportProblem): string[] {
  const place = pointer === "" ? "the document" : pointer;
  return [`${place}${line === undefined ? "" : `, line ${line}`}: ${reason}`];
}

function linesOf<Item>(
  items: readonly Item[],
  textOf: (item: Item) => readonly string[],
  { most = maxLines, count = items.length } = {},
): string {
  const shown = items.slice(0, most);
  const more = count - shown.length;
  const lines = [...shown.flatMap(textOf), ...(more > 0 ? [`… and ${more} more`] : [])];
  return lines.map((line) => `  ${printable(line)}\n`).join("");
}
