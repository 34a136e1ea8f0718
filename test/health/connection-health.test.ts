import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setDefaultCACertificates } from "node:tls";
import { X509Certificate } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  [service, upstream] = await Promise.all([startService(), startUpstream()]);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

let made = 0;
async function connect(baseUrl: string, org = service.org): Promise<string> {
  const wanted = { serviceSlug: `custom:h${made++}`, baseUrl, apiKey: "not-for-probes" };
  return (await org.client.connections.upsertServiceConnection(wanted)).connection?.id ?? "";
}

/** A probe of each connection, a period after the last one. */
async function sweep(): Promise<void> {
  service.clock.advance(70_000);
  await service.app.loops.health.runOnce();
}

/** A moment as answers spell it. */
function spelled(at: Date): string {
  return at.toISOString().replace(".000Z", "Z");
}

async function healthOf(id: string) {
  const { status, body } = await service.org.rest("GET", `/api/connections/${id}/health`);
  expect([status, body]).toEqual([200, expect.anything()]);
  return body.data.health;
}

test("the health of a connection has its last 24 probes with their times, and no latency of those that failed", async () => {
  const id = await connect(`${upstream.url}/times`);
  for (let n = 0; n < 26; n++) {
    upstream.answer({ status: n % 5 === 0 ? 503 : 204 });
    await sweep();
  }
  const { checks, lastCheckedAt, lastLatencyMs } = await healthOf(id);
  expect(checks).toHaveLength(24);
  expect(checks.map(({ latencyMs }: { latencyMs?: number }) => latencyMs === undefined)).toEqual(
    Array.from({ length: 24 }, (_, i) => (i + 2) % 5 === 0),
  );
  const times = checks.map(({ at }: { at: string }) => Date.parse(at));
  expect(times).toEqual(Array.from({ length: 24 }, (_, i) => Date.parse(lastCheckedAt) - (23 - i) * 70_000));
  expect(lastLatencyMs).toBeUndefined();
  await service.org.client.connections.deleteConnection({ id });
});

test("it says when the service was found in another state, by the stage that failed, latest first, and at most fifty times", async () => {
  const id = await connect(`${upstream.url}/states`);
  const gone = await startUpstream();
  const refusing = await connect(gone.url);
  await gone[Symbol.asyncDispose]();
  const at: string[] = [];
  for (const status of [200, 500, 500, 502, 200]) {
    upstream.answer({ status });
    await sweep();
    at.push(spelled(service.clock.now()));
  }
  expect((await healthOf(id)).transitions).toEqual([
    { at: at[4], healthy: true },
    { at: at[1], healthy: false, stage: "status", message: "the service answered 500" },
    { at: at[0], healthy: true },
  ]);
  expect((await healthOf(refusing)).transitions).toEqual([
    { at: at[0], healthy: false, stage: "TCP", message: expect.stringContaining("refuses the connection") },
  ]);
  for (let n = 0; n < 52; n++) {
    upstream.answer({ status: n % 2 === 0 ? 500 : 200 });
    await sweep();
  }
  const { transitions } = await healthOf(id);
  const times = transitions.map((one: { at: string }) => Date.parse(one.at));
  expect(times).toEqual(times.toSorted((one: number, other: number) => other - one));
  expect(times).toHaveLength(50);
  const kept = "select count(*)::int as n from connection_transitions where connection_id = $1";
  expect(await service.postgres.asOwner(kept, [id])).toEqual([{ n: 50 }]);

  service.clock.advance(31 * 24 * 60 * 60 * 1_000);
  await service.app.loops.health.runOnce();
  expect((await healthOf(id)).transitions).toEqual([]);
  expect(await service.postgres.asOwner(kept, [id])).toEqual([{ n: 0 }]);
  for (const one of [id, refusing]) await service.org.client.connections.deleteConnection({ id: one });
});

test("a connection shows its last probe, and when its service's certificate ends, until it moves elsewhere", async () => {
  const pem = (name: string) => readFileSync(new URL(`../net/${name}`, import.meta.url), "utf8");
  const cert = pem("test-only.cert.pem");
  setDefaultCACertificates([cert]);
  const secure = createServer({ cert, key: pem("test-only.key.pem") }, (_, response) => response.end());
  await once(secure.listen(0, "127.0.0.1"), "listening");
  const id = await connect(`https://127.0.0.1:${(secure.address() as AddressInfo).port}`);
  const shown = async () => (await service.org.rest("GET", `/api/connections/${id}`)).body.data.connection;
  expect(await shown()).not.toHaveProperty("lastCheckedAt");
  await sweep();
  const certificateExpiresAt = spelled(new X509Certificate(cert).validToDate);
  const lastCheckedAt = spelled(service.clock.now());
  const found = { certificateExpiresAt, lastCheckedAt, lastLatencyMs: expect.any(Number) };
  expect(await shown()).toMatchObject(found);
  expect(await healthOf(id)).toMatchObject(found);

  // What cannot be reached shows no certificate: the last one may be why.
  secure.closeAllConnections();
  secure.close();
  await sweep();
  expect(await healthOf(id)).toMatchObject({ certificateExpiresAt, lastError: { stage: "TCP" } });

  upstream.answer({});
  await service.org.rest("PATCH", `/api/connections/${id}`, { baseUrl: upstream.url, apiKey: "another" });
  const moved = await healthOf(id);
  expect(moved).not.toHaveProperty("certificateExpiresAt");
  expect(moved.checks).toEqual([]);
  setDefaultCACertificates([]);
});

test("the health of another organisation's connection is that of one that does not exist", async () => {
  const other = await service.newOrganization("globex");
  const theirs = await connect(upstream.url, other);
  const answers = [theirs, "scn_01HZZZZZZZZZZZZZZZZZZZZZZZ"].map((id) =>
    service.org.rest("GET", `/api/connections/${id}/health`),
  );
  const [asked, unknown] = await Promise.all(answers);
  expect(asked?.status).toBe(404);
  expect(asked?.body).toEqual(unknown?.body);
});

test("probes go on when the clock was ahead and is set back", async () => {
  const id = await connect(`${upstream.url}/clock`);
  upstream.answer({});
  await sweep();
  service.clock.advance(-3_600_000);
  const before = upstream.asked.length;
  await service.app.loops.health.runOnce();
  await service.app.loops.health.runOnce();
  expect(upstream.asked.length).toBeGreaterThan(before);
  expect((await healthOf(id)).lastCheckedAt).toBe(spelled(service.clock.now()));
});
