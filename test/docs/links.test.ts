import { existsSync, globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { brokenLinks } from "./links.ts";

const pages = [...globSync("*.md"), ...globSync("docs/**/*.md")];

test.each(pages)("every link of %s leads to a file, and to a heading in it", (page) => {
  expect(brokenLinks(page)).toStrictEqual([]);
});

test("every file of code, test or contract that a page names is there", () => {
  const paths = /(?<=`)(?:src|test|proto)\/[\w./-]+(?=`)/g;
  const named = pages.flatMap((page) => readFileSync(page, "utf8").match(paths) ?? []);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((path) => !existsSync(path))).toStrictEqual([]);
});
