import { spawnSync } from "node:child_process";
import { chown, copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../support/ports.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import {
  hasTerminal,
  paste,
  patchbay,
  patchbayOnTerminal,
  run,
  shellCommand,
  temporaryFolder,
} from "./patchbay.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => void (folder = await temporaryFolder()));
afterAll(() => folder[Symbol.asyncDispose]());

const rootKey = Buffer.alloc(32, 1).toString("base64");

/** What a service on this database is started with. */
function on(database: TestDatabase, dataDir: string) {
  return {
    args: ["start", "--port", "0", "--data-dir", join(folder.path, dataDir)],
    env: { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY: rootKey },
  };
}

test.skipIf(!hasTerminal)(
  "on a terminal, the first start shows the key there and writes no file",
  async () => {
    await using database = await createTestDatabase("empty");
    const { args, env } = on(database, "terminal");
    await using service = patchbayOnTerminal(shellCommand(args), { env });
    await service.ready();
    const screen = service.stdout().replaceAll("\r", "");
    const [, key = ""] = /Admin key {4}(qe_sk_sandbox_[A-Z2-7]{32}) {3}shown once\n/.exec(screen) ?? [];
    const [, curl = ""] = /Try it:\n(.*)\n/.exec(screen) ?? [];
    expect(curl).toContain(key);
    expect(JSON.parse((await paste(curl)).stdout)).toMatchObject({ data: { name: "admin" } });
    expect(await readdir(folder.path)).not.toContain("terminal");
    expect(screen).toMatch(/^\d\d:\d\d:\d\d info {2}ready host=127\.0\.0\.1 port=\d+ environment=sandbox$/m);
  },
);

test("a first start that fails for want of its port is made again, and has lost no key", async () => {
  await using database = await createTestDatabase("empty");
  const { args, env } = on(database, "port");
  await using holder = await holdPort();
  // Through npm, which must pass the flags on.
  const flags = [...args.slice(1), "--port", String(holder.port)];
  const failed = await run(["start", "--silent", "--", ...flags], { env, command: ["npm"] });
  expect([failed.code, failed.stderr]).toStrictEqual([
    1,
    `patchbay: --port (PATCHBAY_PORT): port ${holder.port} on 127.0.0.1 is in use: ` +
      "stop the program that holds it, or choose another with --port\n",
  ]);
  await using service = patchbay(args, { env });
  await service.ready();
  expect(service.stdout()).toContain(`Admin key    in ${join(folder.path, "port", "admin-key")}, 0600`);
});

test("a start that fails while it builds the service ends, and no socket or timer of it goes on", async () => {
  await using database = await createTestDatabase();
  await database.asOwner("drop table api_keys cascade");
  const { args, env } = on(database, "broken");
  // No server listens there, so that the attempts to share rate limits would go on for ever.
  const rateLimits = { PATCHBAY_RATE_LIMIT_URL: `redis://127.0.0.1:${await freePort()}` };
  const failed = await run(args, { env: { ...env, ...rateLimits } });
  expect([failed.code, failed.stderr]).toStrictEqual([1, expect.stringMatching(/^patchbay: /) as string]);
});

test("a first start that cannot write its admin key makes none, and the next start does", async () => {
  await using database = await createTestDatabase("empty");
  const { args, env } = on(database, "no-folder");
  await writeFile(join(folder.path, "no-folder"), "");
  const failed = await run(args, { env });
  expect([failed.code, failed.stderr]).toStrictEqual([
    1,
    expect.stringMatching(/^patchbay: --data-dir \(PATCHBAY_DATA_DIR\): .*\n$/) as string,
  ]);
  expect(await database.asOwner("select 1 from api_keys")).toHaveLength(0);
  await rm(join(folder.path, "no-folder"));
  await using service = patchbay(args, { env });
  await service.ready();
  expect(service.stdout()).toContain(`Admin key    in ${join(folder.path, "no-folder", "admin-key")}, 0600`);
});

test("metrics have a port of their own, and a server of rate limits that is away delays neither start nor end", async () => {
  await using database = await createTestDatabase("empty");
  const { args, env } = on(database, "metrics");
  await using service = patchbay([...args, "--metrics-port", "0"], {
    env: { ...env, PATCHBAY_RATE_LIMIT_URL: "redis://:canary@127.0.0.1:1" },
  });
  const url = await service.ready();
  const [, port = ""] = /"metricsPort":(\d+)/.exec(service.stdout()) ?? [];
  const key = (await readFile(join(folder.path, "metrics", "admin-key"), "utf8")).trim();
  expect((await fetch(`${url}/api/auth/me`, { headers: { authorization: `Bearer ${key}` } })).status).toBe(
    200,
  );
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toContain("patchbay_rate_limit_fallbacks_total 1\n");
  const { code, stdout } = await service.kill("SIGTERM");
  expect(code).toBe(0);
  expect(stdout).toContain("rate limits are not shared");
  expect(stdout).not.toContain("canary");
});

test("of two replicas that start together on an empty database, one makes the first key", async () => {
  await using database = await createTestDatabase("empty");
  const { args, env } = on(database, "replicas");
  await using one = patchbay(args, { env });
  await using other = patchbay(args, { env });
  const urls = await Promise.all([one.ready(), other.ready()]);
  const printed = [one, other].map((service) => service.stdout().includes("Admin key"));
  expect(printed.filter(Boolean)).toHaveLength(1);
  const key = (await readFile(join(folder.path, "replicas", "admin-key"), "utf8")).trim();
  for (const url of urls) {
    const response = await fetch(`${url}/api/auth/me`, { headers: { authorization: `Bearer ${key}` } });
    expect(response.status).toBe(200);
  }
});

const nobody = { uid: 65_534, gid: 65_534 };
const isRoot = process.getuid?.() === 0;
const canRun = isRoot && spawnSync("node_modules/.bin/node", ["--check", "src/main.ts"], nobody).status === 0;

describe.skipIf(!canRun)("as a normal user (this needs root, and a checkout that everybody may read)", () => {
  test("a first start works, and its embedded Postgres is of the same user", async () => {
    const home = join(folder.path, "nobody");
    await mkdir(home);
    await chown(home, nobody.uid, nobody.gid);
    await chown(folder.path, nobody.uid, nobody.gid);
    await using service = patchbay(["start", "--port", "0", "--data-dir", join(home, "data")], {
      as: nobody,
    });
    await service.ready();
    const { stdout } = await paste(/Try it:\n((?:.*\\\n)*.*)\n/.exec(service.stdout())?.[1] ?? "");
    expect(JSON.parse(stdout)).toMatchObject({ data: { status: 200 } });
    expect((await service.kill("SIGTERM")).code).toBe(0);
  });
});

async function holdPort(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => new Promise((done) => void server.close(() => done())),
  };
}

test("npm start says which packages it lacks if those for development were not installed", async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, "scripts"));
  const copy = join(folder.path, "scripts/start.cjs");
  await copyFile("scripts/start.cjs", copy);
  expect(await run([copy, "start"], { command: [process.execPath] })).toMatchObject({
    code: 1,
    stdout: "",
    stderr: "patchbay: npm start needs the packages for development as well: run `npm ci --include=dev`\n",
  });
});
