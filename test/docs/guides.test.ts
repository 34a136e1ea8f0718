import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { paste, patchbay, type Patchbay } from "../cli/patchbay.ts";
import { installPacked, linkPackage, type Project, repository } from "../support/packed.ts";
import { freePort, isListening } from "../support/ports.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { compare, stepsOf, translated } from "./console.ts";

const clients = await readFile(join(repository, "docs/clients.md"), "utf8");
const guard = await readFile(join(repository, "docs/guard.md"), "utf8");
const health = await readFile(join(repository, "docs/health.md"), "utf8");

/** A reader's project, in which the package of the clients is installed, beside the service that the pages call. */
let project: Project;
let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  project = await installPacked("clients");
  await linkPackage(project.path, "@types/node");
  await linkPackage(project.path, "openai");
  await linkPackage(project.path, "postgres");
  service = await startService({ limits: { callsPerMinute: 120 } });
  upstream = await startUpstream();
  const body = JSON.stringify({ message: "hello from the demo service" });
  upstream.answer({ headers: { "content-type": "application/json" }, body });
  const echo = { serviceSlug: "custom:echo", baseUrl: upstream.url, apiKey: "the-demo's-own-token" };
  await service.org.client.connections.upsertServiceConnection(echo);
});
afterAll(async () => {
  for (const one of [upstream, service, project]) await one[Symbol.asyncDispose]();
});

test("TypeScript takes every program of the pages about clients, the guard and health", async () => {
  const programs = [...blocksOf("ts", clients), ...blocksOf("ts", guard), ...blocksOf("ts", health)];
  expect(programs.length).toBeGreaterThan(3);
  const files = programs.map((_, i) => `program-${i}.ts`);
  for (const [i, file] of files.entries()) await writeFile(join(project.path, file), programs[i]!);
  const compilerOptions = {
    ...{ target: "es2022", module: "nodenext", lib: ["es2022", "dom"], types: ["node"] },
    ...{ strict: true, skipLibCheck: true, noEmit: true },
  };
  await writeFile(join(project.path, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  await project.run("tsc", ["--project", "tsconfig.json"]);
});

test.for(["patchbay/client", "patchbay/client/grpc-js"])(
  "the program for %s prints what its comments say",
  async (entry) => {
    const program = blocksOf("ts", clients).find((code) => code.includes(`from "${entry}"`))!;
    const said = [...program.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, output]) => output);
    await writeFile(join(project.path, "program.ts"), translated(program, addresses()));
    expect((await shell("node program.ts")).trim().split("\n")).toStrictEqual(said);
  },
);

test("the guarded service of the page about the guard answers what the page says", async () => {
  const here = addresses();
  here.set("8080", String(await freePort()));
  const [, file = "", program = ""] = /`([\w-]+\.ts)`:\n\n```ts\n(.*?)^```$/ms.exec(guard)!;
  await writeFile(join(project.path, file), translated(program, here));
  await using started = new AsyncDisposableStack();
  for (const step of stepsOf(guard)) {
    const command = translated(step.command, here);
    if (command.endsWith(" &")) {
      started.use(inBackground(command));
      await vi.waitUntil(() => isListening(Number(here.get("8080"))), { timeout: 50_000 });
    } else {
      compare(step, await shell(command), here);
    }
  }
});

test("Python calls the service with what protoc generates from the packed contracts", async ({ skip }) => {
  const plugin = "/usr/bin/grpc_python_plugin";
  const files = ["/usr/bin/protoc", plugin, "/usr/include/google/protobuf/any.proto"];
  const hasGrpc = spawnSync("/usr/bin/python3", ["-c", "import grpc"]).status === 0;
  skip(
    !hasGrpc || !files.every((file) => existsSync(file)),
    "apt-get install protobuf-compiler protobuf-compiler-grpc libprotobuf-dev python3-grpcio",
  );
  await cp(join(project.package, "proto"), join(project.path, "proto"), { recursive: true });
  const generate = blocksOf("sh", clients).find((commands) => commands.includes("grpc_tools"))!;
  // Debian's, which are the same two programs apart.
  const protoc = `protoc --plugin=protoc-gen-grpc_python=${plugin}`;
  await shell(generate.replace(/^pip .*\n/, "").replace("python -m grpc_tools.protoc", protoc));
  const [program = ""] = blocksOf("python", clients);
  const said = [...program.matchAll(/print\(.*\) {2}# (.*)$/gm)].map(([, output]) => output);
  await writeFile(join(project.path, "call.py"), translated(program, addresses()));
  const printed = await shell("PYTHONPATH=generated /usr/bin/python3 call.py");
  expect(printed.trim().split("\n")).toStrictEqual(said);
});

test("buf takes the contracts of the package without those of others, as the page says for Go and Java", async () => {
  await cp(project.package, join(project.path, "patchbay"), { recursive: true });
  const pages = blocksOf("yaml", clients);
  expect(pages).toHaveLength(2);
  for (const page of pages) {
    // The plugins of other languages are not here; what they are given is.
    const plugin = "plugins:\n  - local: protoc-gen-es\n    out: gen\n    opt: target=ts\n";
    await writeFile(join(project.path, "buf.gen.yaml"), page.replace(/^plugins:\n.*/ms, plugin));
    await project.run("rm", ["-rf", "gen"]);
    await project.run("buf", ["generate"]);
    const generated = (await project.run("find", ["gen", "-name", "*.ts"])).trim().split("\n");
    expect(generated).toContain("gen/patchbay/connections/v1/connection_service_pb.ts");
    expect(generated.filter((file) => !file.startsWith("gen/patchbay/"))).toStrictEqual([]);
    const code = await readFile(join(project.path, "gen/patchbay/apikeys/v1/api_key_service_pb.ts"), "utf8");
    expect(code).not.toContain("validate");
  }
});

/** The code in the blocks of a language. */
function blocksOf(language: string, page: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms"))].map(
    ([, code = ""]) => code,
  );
}

function addresses(): Map<string, string> {
  return new Map([["127.0.0.1:7420", new URL(service.url).host]]);
}

function inProject(command: string): string {
  return `cd '${project.path}' && export PATCHBAY_KEY=${service.org.secret} && ${command}`;
}

/** What a shell command prints in the project. */
async function shell(command: string): Promise<string> {
  const { code, stdout, stderr } = await paste(inProject(command));
  expect({ command, code, stderr: code === 0 ? "" : stderr }).toStrictEqual({ command, code: 0, stderr: "" });
  return stdout;
}

/** A command that ends in ` &`, with no shell between, so that it ends when it is killed. */
function inBackground(command: string): Patchbay {
  const [, variable = "", program = ""] = /^(\S+=\S+) (.*) &$/.exec(command)!;
  const line = inProject(`export ${variable} && exec ${program}`);
  return patchbay(["-c", line], { command: ["/bin/sh"] });
}
