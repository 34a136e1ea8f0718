import { Code } from "@connectrpc/connect";
import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  await service.app.loops.logs.runOnce();
});
afterAll(() => service[Symbol.asyncDispose]());
beforeEach(async () => {
  upstream = await startUpstream();
});
afterEach(async () => {
  await service.postgres.asOwner("delete from webhook_endpoints");
  await upstream[Symbol.asyncDispose]();
});

const webhooks = () => service.org.client.webhooks;
const send = () => service.app.loops.webhooks.runOnce();
const headersOf = (index: number) => upstream.asked[index]!.headers as Record<string, string>;

async function registered(more: object = {}) {
  const wanted = { url: `${upstream.url}/hooks/`, types: ["audit.user.*"], ...more };
  const { endpoint, secret } = await webhooks().createWebhookEndpoint(wanted);
  return { id: endpoint!.id, secret };
}

test("a ping arrives signed by each live secret, with the endpoint's own headers, paused or not", async () => {
  const { id, secret } = await registered({ headers: { Authorization: "Bearer t0ken" } });
  const renewed = await webhooks().rotateWebhookSecret({ id });
  await webhooks().pauseWebhookEndpoint({ id });
  const { status, body } = await service.org.rest("POST", `/api/webhook-endpoints/${id}/test`, {});
  expect([status, body]).toEqual([200, { ok: true, status: 200, latencyMs: expect.any(Number) }]);
  const [asked] = upstream.asked;
  expect(asked).toMatchObject({ method: "POST", url: "/hooks/", headers: { authorization: "Bearer t0ken" } });
  for (const one of [secret, renewed.secret]) new Webhook(one).verify(asked!.body, headersOf(0));
  expect(JSON.parse(asked!.body)).toMatchObject({ type: "webhook.ping", data: { endpointId: id } });
  const [event] = (await service.org.client.audit.listAuditEvents({ action: "webhook.test" })).events;
  expect(event).toMatchObject({ target: id, details: { ok: true, status: 200 } });
  expect(JSON.stringify(event?.details)).not.toContain("t0ken");
});

test("a ping that is not taken is a result, which shows nothing of the answer's body", async () => {
  const { id } = await registered();
  upstream.answer({ status: 503, body: "inside" });
  const refused = await service.org.rest("POST", `/api/webhook-endpoints/${id}/test`, {});
  expect(refused.body).toMatchObject({ ok: false, status: 503, stage: "HTTP" });
  expect(JSON.stringify(refused.body)).not.toContain("inside");
  upstream.answer({ status: 302, headers: { location: `${upstream.url}/elsewhere` } });
  expect(await webhooks().testWebhookEndpoint({ id })).toMatchObject({ ok: false, status: 302 });
  expect(upstream.asked.map(({ url }) => url)).toEqual(["/hooks/", "/hooks/"]);
  await webhooks().updateWebhookEndpoint({ id, url: "http://127.0.0.1:9/" });
  const gone = await webhooks().testWebhookEndpoint({ id });
  expect(gone).toMatchObject({ ok: false, stage: "TCP" });
  expect(gone.status).toBeUndefined();
  for (let i = 3; i < 10; i += 1) await webhooks().testWebhookEndpoint({ id });
  await expect(webhooks().testWebhookEndpoint({ id })).rejects.toMatchObject({
    code: Code.ResourceExhausted,
  });
  await expect(webhooks().testWebhookEndpoint({ id: "whe_missing" })).rejects.toMatchObject({
    code: Code.NotFound,
  });
});

test("what an endpoint was registered, and changed, with is what its deliveries carry", async () => {
  const { id, secret } = await registered({ headers: { "x-code": "1" } });
  await service.org.client.directory.upsertUser({ email: "first@example.com" });
  await send();
  await webhooks().updateWebhookEndpoint({
    id,
    headers: { "x-code": "2", "x-more": "3" },
    format: "cloudevents",
  });
  const renewed = await webhooks().rotateWebhookSecret({ id, graceSeconds: 0 });
  await service.org.client.directory.upsertUser({ email: "second@example.com" });
  await send();
  expect([headersOf(0)["x-code"], headersOf(1)["x-code"], headersOf(1)["x-more"]]).toEqual(["1", "2", "3"]);
  expect(headersOf(1)["content-type"]).toContain("application/cloudevents+json");
  new Webhook(secret).verify(upstream.asked[0]!.body, headersOf(0));
  new Webhook(renewed.secret).verify(upstream.asked[1]!.body, headersOf(1));
  expect(() => new Webhook(secret).verify(upstream.asked[1]!.body, headersOf(1))).toThrow();
});

test("what is sent again has its first id and says so, or a new id if that is wanted", async () => {
  const { id } = await registered();
  await service.org.client.directory.upsertUser({ email: "again@example.com" });
  await send();
  const [log = "", seq = ""] = headersOf(0)["webhook-id"]!.split(".");
  const event = { id, log, seq: BigInt(seq) };
  await webhooks().redeliverEvent(event);
  await send();
  await webhooks().redeliverEvent({ ...event, newId: true });
  await send();
  const again = [headersOf(1), headersOf(2)];
  expect(again.map((headers) => headers["x-qe-redelivery"])).toEqual(["true", "true"]);
  expect(headersOf(0)["x-qe-redelivery"]).toBeUndefined();
  expect(headersOf(1)["webhook-id"]).toBe(headersOf(0)["webhook-id"]);
  expect(headersOf(2)["webhook-id"]).toMatch(new RegExp(`^audit\\.${seq}\\.[0-9a-f]{16}$`));
  expect(upstream.asked[1]!.body).toBe(upstream.asked[0]!.body);
});

test("an endpoint that was paused gets all that happened meanwhile, once it is resumed", async () => {
  const { id } = await registered({ ordering: "log" });
  await webhooks().pauseWebhookEndpoint({ id });
  for (const n of [1, 2, 3]) await service.org.client.directory.upsertUser({ email: `${n}@paused.example` });
  await send();
  expect(upstream.asked).toHaveLength(0);
  await webhooks().resumeWebhookEndpoint({ id });
  await send();
  expect(upstream.asked).toHaveLength(3);
  const numbers = upstream.asked.map((_, i) => [
    headersOf(i)["x-qe-previous"],
    headersOf(i)["x-qe-sequence"],
  ]);
  expect(numbers[0]?.[0]).toBe("audit:-");
  expect(numbers.slice(1).map(([previous]) => previous)).toEqual(
    numbers.slice(0, -1).map(([, number]) => number),
  );
});
