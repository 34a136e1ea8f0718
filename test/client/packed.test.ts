import { execFile } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { type DescFile, toJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { brokenLinksIn } from "../docs/links.ts";
import { installPacked, linkPackage, manifestIn, type Project, repository } from "../support/packed.ts";
import { startService } from "../support/service.ts";

/** A project with the package of the clients, and programs that use them. */
let project: Project;
beforeAll(async () => {
  project = await installPacked("clients");
  await cp(join(import.meta.dirname, "consumer"), project.path, { recursive: true });
  await linkPackage(project.path, "@types/node");
});
afterAll(() => project[Symbol.asyncDispose]());

test("TypeScript finds the types of every entry, in Node and in a browser without Node's types", async () => {
  await project.run("tsc", ["--project", "tsconfig.json"]);
  await project.run("tsc", ["--project", "tsconfig.web.json"]);
});

const hostOf = (url: string) => new URL(url).host;
const urlOf = (url: string) => url;

const programs = [
  ["patchbay/client", "node.ts", hostOf, "INVALID_BEARER"],
  ["patchbay/client/grpc-js", "grpc-js.ts", hostOf, "INVALID_BEARER"],
  ["patchbay/guard", "guard.ts", urlOf, { error: "missing or invalid Bearer" }],
  [
    "patchbay/guard/grpc-js",
    "guard-grpc-js.ts",
    urlOf,
    { error: "16 UNAUTHENTICATED: missing or invalid Bearer" },
  ],
] as const;

test.each([
  ...programs,
  ["patchbay/web, without anything of Node", "browser.mjs", urlOf, "INVALID_BEARER"] as const,
])("%s lets a key in and no other, and lets the process end", async (_, script, addressOf, refusal) => {
  await using service = await startService();
  const output = await project.run("node", [script, addressOf(service.url), service.org.secret]);
  expect(JSON.parse(output)).toEqual({ name: "admin", refusal });
});

describe("on the Node that is installed beside the repository's", () => {
  let node: string | undefined;
  beforeAll(async () => {
    node = await installedNode();
    // It may be too old to run TypeScript.
    await mkdir(join(project.path, "plain"));
    for (const [, script] of programs) {
      const code = stripTypeScriptTypes(await readFile(join(project.path, script), "utf8"));
      await writeFile(join(project.path, "plain", script.replace(/ts$/, "js")), code);
    }
  });

  test.for(programs)("%s does the same", async ([, script, addressOf, refusal], { skip }) => {
    skip(node === undefined, "there is no other Node, of version 20 or later");
    await using service = await startService();
    const program = join("plain", script.replace(/ts$/, "js"));
    const output = await project.run(node!, [program, addressOf(service.url), service.org.secret]);
    expect(JSON.parse(output)).toEqual({ name: "admin", refusal });
  });
});

describe("the package", () => {
  test("depends on Protobuf, Connect and a cache, from the versions on that are tested here", async () => {
    const { dependencies, peerDependencies, engines } = project.manifest;
    const service = await manifestIn(repository);
    const tested = { ...service.dependencies, ...service.devDependencies };
    const names = ["protobuf", "connect", "connect-node", "connect-web", "lru-cache"];
    expect(Object.keys(dependencies).map((name) => name.replace(/^.*\//, ""))).toStrictEqual(names);
    for (const [name, range] of Object.entries(dependencies)) expect(range).toBe(`^${tested[name]}`);
    expect(Object.keys(peerDependencies ?? {})).toStrictEqual(["@grpc/grpc-js"]);
    expect(engines["node"]).toBe(">=20");
  });

  test("holds the clients, the guard and their contracts, and no code of the service", async () => {
    const sources = await readdir(join(repository, "src/client"), { recursive: true });
    const modules = sources.filter((file) => file.endsWith(".ts")).map((file) => file.replace(/\.ts$/, ""));
    const code = project.files.filter((file) => /\.([cm]?js|ts|json|sql)$/.test(file));
    const expected = modules.flatMap((name) => [`dist/${name}.js`, `dist/${name}.d.ts`]);
    expect(code.filter((file) => !file.startsWith("gen/")).sort()).toStrictEqual(
      [...expected, "package.json"].sort(),
    );
    const contracts = code.filter((file) => file.startsWith("gen/"));
    expect(contracts).toContain("gen/google/rpc/error_details_pb.js");
    expect(contracts.filter((file) => /validate|options|google\/api|reflection/.test(file))).toStrictEqual(
      [],
    );
  });

  test("has the contracts of the service, but for the options that only the service reads", async () => {
    const files = project.files.filter((file) => /^gen\/patchbay\/.*_pb\.js$/.test(file));
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      const [theirs, ours] = await Promise.all(
        [project.package, repository].map(async (folder) => contractIn(join(folder, file))),
      );
      expect([file, theirs]).toStrictEqual([file, ours]);
    }
  });

  test("has the contracts for other languages", async () => {
    const script = `console.log(import.meta.resolve("patchbay/proto/patchbay/apikeys/v1/api_key_service.proto"))`;
    const url = await project.run("node", ["--input-type=module", "--eval", script]);
    expect(await readFile(new URL(url.trim()), "utf8")).toContain("service ApiKeyService");
  });

  test("may be published, says its license, and every link of its pages leads to a file in it", async () => {
    expect(project.manifest).not.toHaveProperty("private");
    expect(project.manifest.license).toBe("Apache-2.0");
    expect(project.manifest.version).toBe((await manifestIn(repository)).version);
    for (const file of ["LICENSE", "README.md", "CHANGELOG.md"]) expect(project.files).toContain(file);
    expect(brokenLinksIn(project.package)).toStrictEqual({});
  });

  test("adds 50 kB to a page at most, compressed, and nothing of protovalidate", async () => {
    const page = `import { createPatchbayClient, reasonOf } from "patchbay/web";
      globalThis.patchbay = { createPatchbayClient, reasonOf };`;
    const { outputFiles, metafile } = await build({
      stdin: { contents: page, resolveDir: project.path },
      bundle: true,
      minify: true,
      format: "esm",
      write: false,
      metafile: true,
    });
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.filter((input) => input.includes("protovalidate"))).toStrictEqual([]);
    expect(gzipSync(outputFiles[0]!.contents).length).toBeLessThanOrEqual(50_000);
  });
});

/** What a generated file says of its messages, enums and services. */
async function contractIn(file: string): Promise<unknown> {
  const generated = (await import(pathToFileURL(file).href)) as Record<string, { kind?: unknown }>;
  const description = Object.values(generated).find(({ kind }) => kind === "file") as DescFile;
  const ofService = ["options", "dependency"];
  const shape = JSON.stringify(toJson(FileDescriptorProtoSchema, description.proto), (key, value: unknown) =>
    ofService.includes(key) ? undefined : value,
  );
  const methods = description.services.flatMap(({ methods }) => methods);
  return {
    shape: JSON.parse(shape),
    idempotency: methods.map(({ name, idempotency }) => [name, idempotency]),
  };
}

/** A Node of the machine, of a version that the clients support. */
async function installedNode(): Promise<string | undefined> {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  for (const path of folders.map((folder) => join(folder, "node"))) {
    if (!existsSync(path) || /\/node_modules\/|\/_npx\//.test(realpathSync(path) + path)) continue;
    const { stdout } = await promisify(execFile)(path, ["--version"]);
    if (Number(/^v(\d+)\./.exec(stdout)?.[1]) >= 20) return path;
  }
  return undefined;
}
