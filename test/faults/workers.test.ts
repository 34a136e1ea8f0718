import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { run, temporaryFolder } from "../cli/patchbay.ts";
import { isListening } from "../support/ports.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { missingRedis, startRedis } from "../support/redis.ts";
import { presenter } from "../support/service.ts";
import { linesToBoth, startWorkers, type LineReply, type Workers } from "./support/workers.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => void (folder = await temporaryFolder()));
afterAll(() => folder[Symbol.asyncDispose]());

const rootKey = Buffer.alloc(32, 1).toString("base64");

/** Two workers on a database of the test. */
async function startOn(
  database: TestDatabase,
  name: string,
  flags: readonly string[] = [],
  settings: Readonly<Record<string, string>> = {},
) {
  const env = { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY: rootKey, ...settings };
  return startWorkers(join(folder.path, name), { env, flags: ["--outbound-allow", "127.0.0.1", ...flags] });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const untilGone = (pid: number) => vi.waitUntil(() => !isAlive(pid), { timeout: 50_000 });
const allowed = (replies: readonly LineReply[]) => replies.filter(({ status }) => status === 200).length;

/** A server that answers each call when it is told to. */
async function startSlowSibling() {
  const asked: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === "/slow") asked.push(response);
    else response.end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    untilAsked: (times: number) => vi.waitUntil(() => asked.length >= times, { timeout: 50_000 }),
    answer() {
      for (const response of asked.splice(0)) response.end("done");
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

const slowCall = { body: { service: "custom:slow", method: "GET", path: "/slow" } };

describe("two workers", () => {
  let database: TestDatabase;
  let workers: Workers;
  beforeAll(async () => {
    database = await createTestDatabase("empty");
    const limits = ["--failed-authentications-per-minute", "10", "--trusted-proxy-hops", "1"];
    workers = await startOn(database, "two", [...limits, "--drain-seconds", "60"]);
  });
  afterAll(async () => {
    await workers[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  async function connectSlowSibling() {
    const sibling = await startSlowSibling();
    const connection = { serviceSlug: "custom:slow", baseUrl: sibling.url, apiKey: "k" };
    await workers.admin.client.connections.upsertServiceConnection(connection);
    return sibling;
  }

  test("take connections in turn, are ready when the service says so, and are counted together", async () => {
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    for (let i = 0; i < 4; i++) expect((await fetch(`${workers.url}/readyz`)).status).toBe(200);
    const whoAmI =
      'patchbay_requests_total{rpc="patchbay.apikeys.v1.ApiKeyService/WhoAmI",protocol="rest",status="200"}';
    expect(await workers.metric(whoAmI)).toBe(2);
    await workers.admin.client.apiKeys.whoAmI({});
    expect(await workers.metric(whoAmI.replace("rest", "grpc").replace("200", "0"))).toBe(1);
    expect(await workers.metric("patchbay_workers")).toBe(2);
    expect(await workers.metric("patchbay_ready")).toBe(1);
    // Divided, and not multiplied.
    expect(await workers.metric("patchbay_database_connections")).toBe(10);
  });

  test("hold a key to its limit together, to the last call, however its calls are spread", async () => {
    const { secret } = await workers.admin.client.apiKeys.createApiKey({
      name: "limited",
      scopes: ["a:view"],
      rateLimitPerMinute: 25,
    });
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    const calls = Array.from({ length: 60 }, (_, i) =>
      (i % 2 ? one : other).call("GET", "/api/auth/me", { secret }),
    );
    const replies = await Promise.all(calls);
    expect(allowed(replies)).toBe(25);
    expect(new Set(replies.map(({ worker }) => worker)).size).toBe(2);
    expect(await workers.metric("patchbay_rate_limit_fallbacks_total")).toBe(0);
  });

  test("refuse a key on one as soon as it was revoked on the other", async () => {
    const { secret, apiKey } = await workers.admin.client.apiKeys.createApiKey({
      name: "x",
      scopes: ["a:view"],
    });
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    expect(await other.call("GET", "/api/auth/me", { secret })).toMatchObject({ status: 200 });
    const revoked = await one.call("DELETE", `/api/api-keys/${apiKey?.id}`);
    expect(revoked.status).toBe(200);
    await vi.waitUntil(async () => (await other.call("GET", "/api/auth/me", { secret })).status === 401);
  });

  test("go on with their connections while the primary hangs, each by itself, and count together again afterwards", async () => {
    const { secret } = await workers.admin.client.apiKeys.createApiKey({
      name: "hang",
      scopes: ["a:view"],
      rateLimitPerMinute: 10,
    });
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    expect(allowed([await one.call("GET", "/api/auth/me", { secret })])).toBe(1);
    process.kill(workers.service.pid, "SIGSTOP");
    try {
      const alone = [];
      for (let i = 0; i < 12; i++) alone.push(await one.call("GET", "/api/auth/me", { secret }));
      // It knows what it let through before.
      expect(allowed(alone)).toBe(9);
    } finally {
      process.kill(workers.service.pid, "SIGCONT");
    }
    await vi.waitUntil(() => workers.logged("rate limits are shared again").length > 0, { timeout: 50_000 });
    const fallbacks = await workers.metric("patchbay_rate_limit_fallbacks_total");
    expect(fallbacks).toBeGreaterThan(0);
    for (const line of [one, other]) await line.call("GET", "/api/auth/me");
    expect(await workers.metric("patchbay_rate_limit_fallbacks_total")).toBe(fallbacks);
  });

  test("hear of each other's failed authentications, so that a guesser has no second budget", async () => {
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    const guess = { secret: "qe_sk_sandbox_ABCDEFGHABCDEFGHABCDEFGHABCDEFGH", from: "203.0.113.7" };
    const here = [];
    for (let i = 0; i < 11; i++) here.push((await one.call("GET", "/api/auth/me", guess)).status);
    expect(here).toStrictEqual([...Array<number>(10).fill(401), 429]);
    const there = [];
    for (let i = 0; i < 5; i++) there.push((await other.call("GET", "/api/auth/me", guess)).status);
    expect(there).toContain(429);
  });

  test("lose one by SIGKILL: it costs its own calls only, and is replaced; its counts stay", async () => {
    await using sibling = await connectSlowSibling();
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    const { worker } = await one.call("GET", "/api/auth/me");
    const victim = workers.ready().find((ready) => ready.worker === worker);
    const whoAmI =
      'patchbay_requests_total{rpc="patchbay.apikeys.v1.ApiKeyService/WhoAmI",protocol="rest",status="200"}';
    const counted = (await workers.metric(whoAmI)) ?? 0;
    const soFar = workers.ready().length;

    const lost = one.call("POST", "/api/service-calls", slowCall).catch((error: Error) => error);
    const kept = other.call("POST", "/api/service-calls", slowCall);
    await sibling.untilAsked(2);
    process.kill(victim?.pid ?? 0, "SIGKILL");
    expect(await lost).toBeInstanceOf(Error);
    // New connections are taken meanwhile.
    using next = workers.line();
    expect(await next.call("GET", "/api/auth/me")).toMatchObject({ status: 200 });
    sibling.answer();
    expect(await kept).toMatchObject({ status: 200 });
    await workers.untilReady(soFar + 1);
    expect(await workers.metric(whoAmI)).toBe(counted + 1);
    expect(await workers.metric("patchbay_workers")).toBe(2);
    expect(workers.logged("a worker ended by itself; another takes its place")).toMatchObject([
      { level: 50, ended: worker, problem: "it ended with SIGKILL", hadStarted: true },
    ]);
    // The new one takes its turn.
    const answered = [];
    for (let i = 0; i < 2; i++) {
      using line = workers.line();
      answered.push((await line.call("GET", "/api/auth/me")).worker);
    }
    expect(answered).toContain(workers.ready().at(-1)?.worker);
  });

  /** Stops a worker, and answers once a new connection is on its way to it: `call` waits for an answer over that. */
  async function stickConnection(): Promise<Disposable & { pid: number; call: Promise<LineReply> }> {
    const { pid = 0 } = workers.ready().at(-1) ?? {};
    process.kill(pid, "SIGSTOP");
    const lines = [workers.line(), workers.line(), workers.line()];
    const stuck = new Set(lines.map((line) => line.call("GET", "/api/auth/me")));
    for (const call of stuck) void call.then(() => stuck.delete(call));
    await vi.waitUntil(() => stuck.size === 1, { timeout: 50_000 });
    const [call] = stuck;
    if (call === undefined) throw new Error("none is stuck");
    return { pid, call, [Symbol.dispose]: () => lines.forEach((line) => line[Symbol.dispose]()) };
  }

  test("lose one with a connection on its way to it: another answers its calls", async () => {
    const soFar = workers.ready().length;
    using stuck = await stickConnection();
    process.kill(stuck.pid, "SIGKILL");
    expect(await stuck.call).toMatchObject({ status: 200 });
    await workers.untilReady(soFar + 1);
  });

  test("replace one that hangs, and answer what came to it meanwhile", async () => {
    const soFar = workers.ready().length;
    using stuck = await stickConnection();
    expect(await stuck.call).toMatchObject({ status: 200 });
    await workers.untilReady(soFar + 1);
    expect(isAlive(stuck.pid)).toBe(false);
    expect(workers.logged("a worker ended by itself; another takes its place").at(-1)).toMatchObject({
      problem: "it heard nothing for 20 seconds and was killed",
      hadStarted: true,
    });
  });

  test("let one go by SIGTERM: it finishes its calls while another has taken its place; SIGTERM for all ends with 0", async () => {
    await using sibling = await connectSlowSibling();
    using line = workers.line();
    const { worker } = await line.call("GET", "/api/auth/me");
    const leaving = workers.ready().find((ready) => ready.worker === worker)?.pid ?? 0;
    const soFar = workers.ready().length;
    const faults = workers.logged("a worker ended by itself; another takes its place").length;
    const kept = line.call("POST", "/api/service-calls", slowCall);
    await sibling.untilAsked(1);
    process.kill(leaving, "SIGTERM");
    await workers.untilReady(soFar + 1);
    expect(isAlive(leaving)).toBe(true);
    for (let i = 0; i < 4; i++) {
      using fresh = workers.line();
      const reply = await fresh.call("GET", "/api/auth/me");
      expect(reply.status).toBe(200);
      expect(reply.worker).not.toBe(worker);
    }
    sibling.answer();
    expect(await kept).toMatchObject({ status: 200, worker });
    await untilGone(leaving);
    expect(workers.logged("a worker ended by itself; another takes its place")).toHaveLength(faults);

    const last = line.call("POST", "/api/service-calls", slowCall);
    await sibling.untilAsked(1);
    const ended = workers.service.kill("SIGTERM");
    const { port } = new URL(workers.url);
    await vi.waitUntil(async () => !(await isListening(Number(port))), { timeout: 50_000 });
    sibling.answer();
    expect(await last).toMatchObject({ status: 200 });
    expect(await ended).toMatchObject({ code: 0, signal: null, stderr: "" });
  });
});

test("a worker whose successors cannot start either ends the service, with the reason", async () => {
  await using database = await createTestDatabase("empty");
  await using workers = await startOn(database, "hopeless");
  await database.asOwner("alter table service_keys rename to gone");
  for (const { pid } of workers.ready()) process.kill(pid, "SIGKILL");
  const { code, stderr } = await workers.service.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/^patchbay: no worker is left, and the last \d ended early: .*service_keys/);
  expect(stderr).not.toMatch(/ {4}at /);
});

test.skipIf(missingRedis !== undefined)(
  "with a server of rate limits, workers count there, and still together without it",
  async () => {
    await using redis = await startRedis();
    await using database = await createTestDatabase("empty");
    await using workers = await startOn(database, "redis", [], { PATCHBAY_RATE_LIMIT_URL: redis.url });
    const [one, other] = await linesToBoth(workers);
    using lines = new DisposableStack();
    lines.use(one);
    lines.use(other);
    async function letThrough(): Promise<number> {
      const limited = { name: "limited", scopes: ["a:view"], rateLimitPerMinute: 9 };
      const { secret } = await workers.admin.client.apiKeys.createApiKey(limited);
      const calls = Array.from({ length: 30 }, (_, i) =>
        (i % 2 ? one : other).call("GET", "/api/auth/me", { secret }),
      );
      return allowed(await Promise.all(calls));
    }
    expect(await letThrough()).toBe(9);
    expect(await workers.metric("patchbay_rate_limit_fallbacks_total")).toBe(0);
    await redis.kill();
    expect(await letThrough()).toBe(9);
    expect(await workers.metric("patchbay_rate_limit_fallbacks_total")).toBeGreaterThan(0);
  },
);

test("a start that cannot open its port says so once, as one process does, and founds nothing", async () => {
  await using database = await createTestDatabase("empty");
  const holder = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => holder.once("listening", done));
  const { port } = holder.address() as AddressInfo;
  const env = { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY: rootKey };
  const dataDir = join(folder.path, "taken");
  const failed = await run(["start", "--workers", "2", "--port", String(port), "--data-dir", dataDir], {
    env,
  });
  holder.close();
  expect([failed.code, failed.stderr]).toStrictEqual([
    1,
    `patchbay: --port (PATCHBAY_PORT): port ${port} on 127.0.0.1 is in use: ` +
      "stop the program that holds it, or choose another with --port\n",
  ]);
  expect(await database.asOwner("select from api_keys")).toHaveLength(0);
});

test("over TLS, HTTP/1.1 and HTTP/2 reach the workers as well", async () => {
  await using database = await createTestDatabase("empty");
  const tls = ["--tls-cert", "test/net/test-only.cert.pem", "--tls-key", "test/net/test-only.key.pem"];
  await using workers = await startOn(database, "tls", tls);
  const [one, other] = await linesToBoth(workers);
  one[Symbol.dispose]();
  other[Symbol.dispose]();
  const session = connect(workers.url, { rejectUnauthorized: false });
  const [head] = (await once(session.request({ ":path": "/readyz" }), "response")) as [IncomingHttpHeaders];
  session.destroy();
  expect(head[":status"]).toBe(200);
});

test("with the embedded database, a kill of the primary ends all, and the next start has every acknowledged write", async () => {
  const dataDir = join(folder.path, "embedded");
  const killed = await startWorkers(dataDir, {});
  const called = await killed.admin.rest("POST", "/api/service-calls", {
    service: "custom:echo",
    method: "GET",
    path: "/",
  });
  expect(called).toMatchObject({ status: 200, body: { data: { status: 200 } } });
  const names: string[] = [];
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let i = 0; ; i++) {
      const name = `w${writer}-${i}`;
      const body = { name, scopes: ["a:view"] };
      const reply = await killed.admin.rest("POST", "/api/api-keys", body).catch(() => undefined);
      if (reply?.status !== 201) return;
      if (names.push(name) === 20) void killed.service.kill("SIGKILL");
    }
  });
  await Promise.all(writers);
  await killed.service.ended;
  for (const { pid } of killed.ready()) await untilGone(pid);

  await using again = await startWorkers(dataDir, {});
  const { body } = await again.admin.rest("GET", "/api/api-keys?pageSize=200");
  const kept = body.data.apiKeys.map(({ name }: { name: string }) => name);
  expect(kept).toStrictEqual(expect.arrayContaining(names));
  // The demo is the primary's, and outlives workers.
  for (const { pid } of again.ready()) process.kill(pid, "SIGKILL");
  await again.untilReady(4);
  const asked = presenter(again.url, again.admin.secret).rest("POST", "/api/service-calls", {
    service: "custom:echo",
    method: "GET",
    path: "/",
  });
  expect(await asked).toMatchObject({ status: 200, body: { data: { status: 200 } } });
});
