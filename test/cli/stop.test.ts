import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { patchbay, temporaryFolder } from "./patchbay.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let database: TestDatabase;
beforeAll(async () => {
  folder = await temporaryFolder();
  database = await createTestDatabase("empty");
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** A service, and a call through it that has reached a slow sibling. */
async function startWithCallOnItsWay(drainSeconds: number) {
  const env = { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64") };
  const args = ["start", "--port", "0", "--data-dir", folder.path, "--drain-seconds", String(drainSeconds)];
  const service = patchbay(args, { env });
  const url = await service.ready();
  const sibling = await startSlowSibling();
  const key = (await readFile(join(folder.path, "admin-key"), "utf8")).trim();
  const post = (path: string, body: unknown) =>
    fetch(url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  await post("/api/service-connections", { serviceSlug: "custom:slow", baseUrl: sibling.url, apiKey: "k" });
  const call = post("/api/service-calls", { service: "custom:slow", method: "GET", path: "/slow" });
  const answer = await sibling.asked;
  return {
    service,
    url,
    call,
    answer,
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await sibling[Symbol.asyncDispose]();
    },
  };
}

/** A server that answers a call when it is told to. */
async function startSlowSibling() {
  const { promise: asked, resolve } = Promise.withResolvers<ServerResponse>();
  const server = createServer((request, response) => {
    if (request.url === "/slow") resolve(response);
    else response.end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

test("SIGTERM lets a call on its way finish, takes no new one, and ends with 0", async () => {
  await using running = await startWithCallOnItsWay(30);
  const ended = running.service.kill("SIGTERM");
  await expect.poll(() => fetch(running.url).catch((error: Error) => error.message)).toBe("fetch failed");
  running.answer.end("done");
  const reply = await running.call;
  expect([reply.status, await reply.json()]).toMatchObject([200, { data: { status: 200 } }]);
  expect(await ended).toMatchObject({ code: 0, signal: null, stderr: "" });
});

test("a call that does not finish is cut after the configured time, and the end is still 0", async () => {
  await using running = await startWithCallOnItsWay(1);
  const cut = expect(running.call).rejects.toThrow("fetch failed");
  const before = performance.now();
  const { code, stdout } = await running.service.kill("SIGTERM");
  const seconds = (performance.now() - before) / 1000;
  expect([code, stdout]).toStrictEqual([0, expect.stringContaining("did not finish in time")]);
  expect(seconds).toBeGreaterThan(0.9);
  expect(seconds).toBeLessThan(10);
  await cut;
});

test("a second signal ends the process at once", async () => {
  await using running = await startWithCallOnItsWay(3_600);
  running.call.catch(() => undefined);
  void running.service.kill("SIGINT");
  await expect.poll(() => running.service.stdout()).toContain("stopping");
  expect(await running.service.kill("SIGINT")).toMatchObject({ code: 130 });
});

describe("before it is ready", () => {
  /** The service on an empty database, while the test holds a lock that its start must wait for. */
  async function startBehind(
    lock: string,
    {
      kind = "empty",
      port = 0,
      command,
    }: { kind?: "empty" | "migrated"; port?: number; command?: string[] } = {},
  ) {
    const empty = await createTestDatabase(kind);
    await empty.asOwner(`select pg_advisory_lock(${lock})`);
    if (kind === "migrated") for (const statement of founding) await empty.asOwner(statement);
    const dataDir = join(folder.path, randomUUID());
    const env = { DATABASE_URL: empty.url, PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64") };
    const args = ["start", "--port", String(port), "--data-dir", dataDir];
    const service = patchbay(args, { env, ...(command && { command }) });
    const waits = async (what: string) => {
      const waiting = `select from pg_stat_activity where datname = current_database() and query like '%${what}%' and pid <> pg_backend_pid()`;
      await expect.poll(async () => (await empty.asOwner(waiting)).length).toBeGreaterThan(0);
    };
    return {
      service,
      dataDir,
      waits,
      unlock: () => empty.asOwner(`select pg_advisory_unlock(${lock})`),
      again: () => patchbay(args, { env }),
      async [Symbol.asyncDispose]() {
        await service[Symbol.asyncDispose]();
        await empty[Symbol.asyncDispose]();
      },
    };
  }

  const migration = "7420001";
  /** Lets whatever founds an organisation wait for the test, longer than it would wait for another replica. */
  const founding = [
    `create function wait_for_test() returns trigger language plpgsql set lock_timeout = 0
     as $$ begin perform pg_advisory_xact_lock(1); return new; end $$`,
    "create trigger wait_for_test before insert on orgs for each row execute function wait_for_test()",
  ];

  test("a stop while another process migrates ends it at once, and nothing is founded", async () => {
    await using start = await startBehind(migration);
    await start.waits("pg_try_advisory_lock");
    expect(await start.service.kill("SIGTERM")).toMatchObject({ code: 143, stderr: "" });
    await start.unlock();
    await using next = start.again();
    await next.ready();
    expect(next.stdout()).toContain(`Admin key    in ${join(start.dataDir, "admin-key")}, 0600`);
  });

  const isolate = ["unshare", "--pid", "--fork", "--kill-child"];
  const canIsolate = spawnSync(isolate[0] ?? "", [...isolate.slice(1), "true"]).status === 0;

  test.skipIf(!canIsolate)("the same holds for a process with id 1, as in a container", async () => {
    const program = ["node_modules/.bin/node", "src/main.ts"];
    await using start = await startBehind(migration, { command: [...isolate, ...program] });
    await start.waits("pg_try_advisory_lock");
    const [child] = (
      await readFile(`/proc/${start.service.pid}/task/${start.service.pid}/children`, "utf8")
    ).split(" ");
    process.kill(Number(child), "SIGTERM");
    expect(await start.service.ended).toMatchObject({ code: 143, stderr: "" });
  });

  test("/readyz says so until the admin key is there, and a stop meanwhile leaves nothing half", async () => {
    const port = await freePort();
    await using start = await startBehind("1", { kind: "migrated", port });
    await start.waits('insert into "orgs"');
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    const ended = start.service.kill("SIGTERM");
    await start.unlock();
    expect(await ended).toMatchObject({ code: 0 });
    // Either all of it or nothing: the next start makes no second key.
    await using next = start.again();
    await next.ready();
    const key = (await readFile(join(start.dataDir, "admin-key"), "utf8")).trim();
    const me = await fetch(`http://127.0.0.1:${port}/api/auth/me`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(me.status).toBe(200);
    expect(await readdir(start.dataDir)).toStrictEqual(["admin-key"]);
  });
});

test("stopping npm start stops the service and its Postgres", async () => {
  const dataDir = join(folder.path, "npm");
  await using npm = patchbay(["start", "--", "--port", "0", "--data-dir", dataDir], { command: ["npm"] });
  const url = await npm.ready();
  // It has ended only when everything has that it started: all of them write to its output.
  expect(await npm.kill("SIGTERM")).toMatchObject({ stdout: expect.stringContaining("stopping") as string });
  await expect(fetch(url)).rejects.toThrow("fetch failed");
});

test("the admin key of the first start is not in its memory afterwards", async () => {
  await using empty = await createTestDatabase("empty");
  const dataDir = join(folder.path, "memory");
  const program = [
    "node_modules/.bin/node",
    "--heapsnapshot-signal=SIGUSR2",
    `--diagnostic-dir=${folder.path}`,
  ];
  await using service = patchbay(["src/main.ts", "start", "--port", "0", "--data-dir", dataDir], {
    env: { DATABASE_URL: empty.url, PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64") },
    command: program,
  });
  await service.ready();
  const key = (await readFile(join(dataDir, "admin-key"), "utf8")).trim();
  process.kill(service.pid, "SIGUSR2");
  const snapshots = async () => (await readdir(folder.path)).filter((name) => name.endsWith(".heapsnapshot"));
  await expect.poll(async () => (await snapshots()).length).toBe(1);
  await service.kill("SIGTERM");
  const [file = ""] = await snapshots();
  const heap = await readFile(join(folder.path, file), "utf8");
  expect(heap).toContain("begin_first_start");
  expect(heap).not.toContain(key);
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
