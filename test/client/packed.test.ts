import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService } from "../support/service.ts";

const repository = join(import.meta.dirname, "../..");
const manifest = JSON.parse(await readFile(join(repository, "package.json"), "utf8")) as {
  version: string;
  files: string[];
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};

let temporary: string;
let project: string;

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), "patchbay-packed-"));
  project = join(temporary, "project");
  await pack();
  await install();
}, 60_000);

afterAll(() => rm(temporary, { recursive: true, force: true }));

test("TypeScript finds the types of every entry, in Node and in a browser without Node's types", async () => {
  await run("tsc", ["--project", "tsconfig.json"]);
  await run("tsc", ["--project", "tsconfig.web.json"]);
});

test.each([
  ["patchbay/client", "node.ts", (url: string) => new URL(url).host],
  ["patchbay/client/grpc-js", "grpc-js.ts", (url: string) => new URL(url).host],
  ["patchbay/web, without anything of Node", "browser.mjs", (url: string) => url],
])(
  "%s calls the service, reads the reason of a refusal, and lets the process end",
  async (_, script, addressOf) => {
    await using service = await startService();
    const output = await run("node", [script, addressOf(service.url), service.org.secret]);
    expect(JSON.parse(output)).toEqual({ name: "admin", refusal: "INVALID_BEARER" });
  },
);

test.each([
  ["patchbay/guard", "guard.ts", "missing or invalid Bearer"],
  ["patchbay/guard/grpc-js", "guard-grpc-js.ts", "16 UNAUTHENTICATED: missing or invalid Bearer"],
])("%s guards a server of another package, and lets the process end", async (_, script, error) => {
  await using service = await startService();
  const output = await run("node", [script, service.url, service.org.secret]);
  expect(JSON.parse(output)).toEqual({ name: "admin", refusal: { error } });
});

test("the contracts are there for other languages", async () => {
  const script = `console.log(import.meta.resolve("patchbay/proto/patchbay/apikeys/v1/api_key_service.proto"))`;
  const url = await run("node", ["--input-type=module", "--eval", script]);
  expect(await readFile(new URL(url), "utf8")).toContain("service ApiKeyService");
});

test("the command runs, and finds everything that it imports", async () => {
  const version = await run("node", ["node_modules/patchbay/bin/patchbay.cjs", "--version"]);
  expect(version.trim()).toBe(manifest.version);
});

test("the command says what to install when Node is too old", async () => {
  const command = join(project, "node_modules/patchbay/bin/patchbay.cjs");
  const old = `Object.defineProperty(process, "versions", { value: { node: "18.20.4" } });`;
  const failure = run("node", ["--eval", `${old} require(${JSON.stringify(command)})`]);
  await expect(failure).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("patchbay needs Node 24"),
  });
});

/** Packs a copy, so that the working tree gets no dist/ and two runs at once do not disturb each other. */
async function pack(): Promise<void> {
  const copy = join(temporary, "repository");
  const packed = manifest.files.filter((name) => name !== "dist");
  for (const name of [...packed, "package.json", "tsconfig.json", "tsconfig.build.json", "scripts", "src"]) {
    await cp(join(repository, name), join(copy, name), { recursive: true });
  }
  await symlink(join(repository, "node_modules"), join(copy, "node_modules"));
  await run("npm", ["pack", "--pack-destination", temporary], copy);
}

/**
 * Unpacks the tarball as npm would, and links the packages that it declares: npm itself would take longer over
 * those than all the tests together, and would need a registry.
 */
async function install(): Promise<void> {
  await cp(join(import.meta.dirname, "consumer"), project, { recursive: true });
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module" }));
  const installed = join(project, "node_modules/patchbay");
  await mkdir(installed, { recursive: true });
  const tarball = join(temporary, `patchbay-${manifest.version}.tgz`);
  await run("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed]);
  for (const name of Object.keys({
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    "@types/node": "",
  })) {
    const link = join(project, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(repository, "node_modules", name), link);
  }
}

/** Runs a tool of the repository, in the outside project unless told otherwise. */
async function run(command: string, args: string[], cwd = project): Promise<string> {
  // The settings that an outer `npm test` leaves in the environment are those of this repository.
  const outer = Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith("npm_"));
  const PATH = `${join(repository, "node_modules/.bin")}:${process.env["PATH"]}`;
  const { stdout } = await promisify(execFile)(command, args, {
    cwd,
    env: { ...Object.fromEntries(outer), PATH },
  });
  return stdout;
}
