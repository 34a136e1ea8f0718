import { connect } from "node:net";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
let url: string;
beforeAll(async () => {
  service = await startService();
  const { port } = await service.app.listenForMetrics("127.0.0.1", 0);
  url = `http://127.0.0.1:${port}`;
});
afterAll(() => service[Symbol.asyncDispose]());

async function scrape(): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return response.text();
}

/** Waits until the requests with these labels are that many. */
async function untilCounted(labels: string, count: number): Promise<void> {
  await vi.waitUntil(async () => (await scrape()).includes(`patchbay_requests_total{${labels}} ${count}\n`));
}

const whoAmI = 'rpc="patchbay.apikeys.v1.ApiKeyService/WhoAmI"';

test("requests are counted by RPC, protocol and status, and timed", async () => {
  await service.org.rest("GET", "/api/auth/me");
  await service.org.rest("GET", "/api/auth/me");
  await service.as("nonsense").rest("GET", "/api/auth/me");
  await service.org.client.apiKeys.whoAmI({});
  await expect(service.as("nonsense").client.apiKeys.whoAmI({})).rejects.toThrow();
  await untilCounted(`${whoAmI},protocol="rest",status="200"`, 2);
  await untilCounted(`${whoAmI},protocol="rest",status="401"`, 1);
  await untilCounted(`${whoAmI},protocol="grpc",status="0"`, 1);
  await untilCounted(`${whoAmI},protocol="grpc",status="16"`, 1);
  const text = await scrape();
  expect(text).toContain(`patchbay_request_duration_seconds_count{${whoAmI},protocol="rest"} 3\n`);
  expect(text).toContain(`patchbay_request_duration_seconds_bucket{le="60",${whoAmI},protocol="rest"} 3\n`);
});

test("paths and methods that somebody made up are counted together", async () => {
  for (let i = 0; i < 5; i++) {
    await fetch(`${service.url}/made-up/${i}`);
    await fetch(`${service.url}/made.up.Service/Method${i}`, {
      method: "POST",
      headers: { "content-type": "application/grpc" },
    });
  }
  await untilCounted('rpc="none",protocol="none",status="404"', 5);
  await untilCounted('rpc="none",protocol="grpc",status="12"', 5);
  const text = await scrape();
  expect(text).not.toMatch(/made.up/);
});

test("nothing of a tenant is in them", async () => {
  const text = await scrape();
  for (const { orgId, apiKeyId, secret } of [service.org]) {
    for (const told of [orgId, apiKeyId, secret, "acme"]) expect(text).not.toContain(told);
  }
});

test("the process is in them, and the fallbacks of rate limits from the first", async () => {
  const text = await scrape();
  expect(text).toMatch(/^process_cpu_seconds_total \d/m);
  expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds \d/m);
  expect(text).toContain("patchbay_rate_limit_fallbacks_total 0\n");
});

test.each([
  ["GET", "/"],
  ["GET", "/metrics?x"],
  ["GET", "/healthz"],
  ["POST", "/metrics"],
  ["GET", "/api/auth/me"],
])("%s %s is not there", async (method, path) => {
  const response = await fetch(url + path, { method });
  expect([response.status, await response.text()]).toStrictEqual([
    404,
    '{"error":"there is only GET /metrics"}',
  ]);
});

test("the service's own port does not serve them", async () => {
  expect((await fetch(`${service.url}/metrics`)).status).toBe(404);
});

test("a port that is in use is named by its flag", async () => {
  await using other = await startService();
  const { port } = new URL(url);
  await expect(other.app.listenForMetrics("127.0.0.1", Number(port))).rejects.toThrow(/with --metrics-port$/);
});

test("the port goes with the service, and open connections with it", async () => {
  const other = await startService();
  const { port } = await other.app.listenForMetrics("127.0.0.1", 0);
  const idle = connect(port, "127.0.0.1").on("error", () => undefined);
  const closed = new Promise((done) => idle.once("close", done));
  await new Promise((done) => idle.once("connect", done));
  await other[Symbol.asyncDispose]();
  await closed;
  await expect(fetch(`http://127.0.0.1:${port}/metrics`)).rejects.toThrow(/fetch failed/);
});
