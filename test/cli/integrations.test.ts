import { expect, test } from "vitest";
import { presets } from "#src/integrations/presets.ts";
import { builtInSlugs } from "#src/integrations/slug.ts";
import { patchbay } from "./patchbay.ts";

const lines = (stdout: string) => stdout.trimEnd().split("\n");

test("the presets are listed with neither a server nor a database", async () => {
  const { code, stdout, stderr } = await patchbay(["integrations", "list", "--presets"]).ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(lines(stdout).map((line) => line.split(/ {2,}/)[0])).toEqual(presets.map(({ slug }) => slug));
  expect(stdout).toMatch(/^github {2,}GitHub {2,}oauth2, github-app, token$/m);
  expect(stdout).toMatch(/^okta {2,}Okta {2,}oauth2, api-key, \(service-app\)$/m);
});

test("without --presets, the sibling products are there, too", async () => {
  const { stdout } = await patchbay(["integrations", "list"]).ended;
  expect(lines(stdout)).toHaveLength(presets.length + builtInSlugs.length);
  expect(stdout).toMatch(/^aml {2,}\S.* {2,}bearer, basic, api-key$/m);
});
