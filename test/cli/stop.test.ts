import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
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
