import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const page = readFileSync("docs/architecture.md", "utf8");

test("the page about the architecture has the ranks that the linter keeps, the highest first", () => {
  const [, kept = ""] = /^const ranks = \[\n(.*?)^\];/ms.exec(readFileSync("oxlint.config.ts", "utf8")) ?? [];
  const ranks = kept.trim().split("\n").map((rank) => rank.match(/[\w-]+/g)); // prettier-ignore
  const [, drawn = ""] = /^## Ranks\n.*?^```\n(.*?)^```/ms.exec(page) ?? [];
  expect(ranks.length).toBeGreaterThan(10);
  expect(drawn.trim().split("\n").map((rank) => rank.split(/ +/))).toStrictEqual(ranks.toReversed()); // prettier-ignore
});

test("every folder and file that it names is there", () => {
  const named = [...page.matchAll(/`([a-z-]+\/(?:[\w-]+\/|[\w-]+\.ts)?)`/g)].map(([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((path) => !existsSync(`src/${path}`) && !existsSync(path))).toStrictEqual([]);
});
