import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { brokenLinksIn } from "../docs/links.ts";
import { installPacked, type Project } from "../support/packed.ts";

/** A project with the package of the service. */
let project: Project;
beforeAll(async () => {
  project = await installPacked(".");
});
afterAll(() => project[Symbol.asyncDispose]());

test("the command runs, and finds everything that it imports", async () => {
  const version = await project.run("node", [join(project.package, "bin/patchbay.cjs"), "--version"]);
  expect(version.trim()).toBe(project.manifest.version);
});

test("the command says what to install when Node is too old", async () => {
  const command = join(project.package, "bin/patchbay.cjs");
  const old = `Object.defineProperty(process, "versions", { value: { node: "18.20.4" } });`;
  const failure = project.run("node", ["--eval", `${old} require(${JSON.stringify(command)})`]);
  await expect(failure).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("patchbay needs Node 24"),
  });
});

test("the package may be published, says its license, and every link of its pages leads to a file in it", () => {
  expect(project.manifest).not.toHaveProperty("private");
  expect(project.manifest.license).toBe("Apache-2.0");
  for (const file of ["LICENSE", "README.md", "CHANGELOG.md", "docs/operating.md"]) {
    expect(project.files).toContain(file);
  }
  expect(brokenLinksIn(project.package)).toStrictEqual({});
});

test("of the clients, which are a package of their own, the package has the list of services alone", () => {
  expect(project.files.filter((file) => file.startsWith("dist/client"))).toStrictEqual([
    "dist/client/services.js",
  ]);
});
