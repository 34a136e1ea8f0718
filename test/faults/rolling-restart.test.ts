import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { patchbay, temporaryFolder } from "../cli/patchbay.ts";
import { freePort } from "../support/ports.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { presenter } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { createRetryingClient, startSteadyLoad } from "./support/retrying-client.ts";
import { startWorkers } from "./support/workers.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let upstream: Upstream;
beforeAll(async () => {
  folder = await temporaryFolder();
  upstream = await startUpstream();
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const limits = ["--rate-limit-per-minute", "100000", "--max-rate-limit-per-minute", "100000"];
const flags = [...limits, "--outbound-allow", "127.0.0.1", "--drain-seconds", "60"];
const envOf = (database: TestDatabase) => ({
  DATABASE_URL: database.url,
  PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64"),
});

/** Each of these keys is there once, with one audit event, and the record is as it was written. */
async function expectEachOnce(
  url: string,
  secret: string,
  database: TestDatabase,
  created: readonly string[],
) {
  const rows = await database.asOwner("select name, count(*)::int as times from api_keys group by name");
  const times = new Map(rows.map(({ name, times }) => [String(name), times]));
  expect(created.filter((name) => times.get(name) !== 1)).toStrictEqual([]);
  const verified = await presenter(url, secret).rest("GET", "/api/audit/verify");
  expect(verified).toMatchObject({ status: 200, body: { data: { valid: true } } });
}

test("replicas that start together on an empty database and are replaced one after the other fail no call of a client that retries", async () => {
  await using database = await createTestDatabase("empty");
  const dataDir = join(folder.path, "replicas");
  const ports = [await freePort(), await freePort()];
  await using running = new AsyncDisposableStack();
  const startOne = (port: number) =>
    running.use(
      patchbay(["start", "--port", String(port), "--data-dir", dataDir, ...flags], { env: envOf(database) }),
    );
  const replicas = ports.map(startOne);
  const urls = await Promise.all(replicas.map((replica) => replica.ready()));
  expect(await database.asOwner("select from orgs")).toHaveLength(1);
  expect(replicas.filter((replica) => replica.stdout().includes("Admin key"))).toHaveLength(1);

  const secret = (await readFile(join(dataDir, "admin-key"), "utf8")).trim();
  const client = createRetryingClient(urls, secret);
  await client.ask("POST", "/api/service-connections", 201, {
    serviceSlug: "custom:up",
    baseUrl: upstream.url,
    apiKey: "k",
  });
  const load = startSteadyLoad(client, "custom:up");
  for (const [i, port] of ports.entries()) {
    const before = load.created.length;
    await vi.waitUntil(() => load.created.length > before + 20, { timeout: 90_000 });
    expect(await replicas[i]?.kill("SIGTERM")).toMatchObject({ code: 0, stderr: "" });
    await startOne(port).ready();
  }
  await load.end();
  await expectEachOnce(urls[0] ?? "", secret, database, load.created);
});

test("workers that are replaced one after the other fail no call of a client that retries", async () => {
  await using database = await createTestDatabase("empty");
  await using workers = await startWorkers(join(folder.path, "workers"), { env: envOf(database), flags });
  const { secret } = workers.admin;
  const client = createRetryingClient([workers.url], secret);
  await client.ask("POST", "/api/service-connections", 201, {
    serviceSlug: "custom:up",
    baseUrl: upstream.url,
    apiKey: "k",
  });
  const load = startSteadyLoad(client, "custom:up");
  for (const [i, { pid }] of workers.ready().entries()) {
    const before = load.created.length;
    await vi.waitUntil(() => load.created.length > before + 20, { timeout: 90_000 });
    process.kill(pid, "SIGTERM");
    await workers.untilReady(3 + i);
  }
  await load.end();
  expect(workers.logged("a worker ended by itself; another takes its place")).toStrictEqual([]);
  await expectEachOnce(workers.url, secret, database, load.created);
});
