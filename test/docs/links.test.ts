import { globSync } from "node:fs";
import { expect, test } from "vitest";
import { brokenLinks } from "./links.ts";

const pages = [...globSync("*.md"), ...globSync("docs/**/*.md")];

test.each(pages)("every link of %s leads to a file, and to a heading in it", (page) => {
  expect(brokenLinks(page)).toStrictEqual([]);
});
