import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService({ outboundAllow: "127.0.0.1,hooks.internal" });
});
afterAll(() => service[Symbol.asyncDispose]());

const url = "https://shop.example/hooks";
const path = "/api/webhook-endpoints";
const types = ["audit.*"];

/** Who may manage endpoints, and has these scopes too. */
async function keyWith(scopes: readonly string[], more: object = {}) {
  const { apiKey, secret } = await service.org.client.apiKeys.createApiKey({
    name: "hooks",
    scopes: ["webhooks:manage", ...scopes],
    ...more,
  });
  return { id: apiKey!.id, ...service.as(secret) };
}

test("an endpoint is registered with a secret that is shown once, and is listed, read and deleted", async () => {
  const created = await service.org.rest("POST", path, { url, types, description: "shop" });
  const { endpoint, secret } = created.body.data;
  expect(created.status).toBe(201);
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(endpoint).toMatchObject({
    ...{ url, types, description: "shop", state: "active", ordering: "none", format: "json" },
    ...{ maxInFlight: 8, keepSuccesses: true, ownerKeyId: service.org.apiKeyId },
    secrets: [{ createdAt: expect.any(String) }],
    positions: [{ log: "audit", seq: expect.any(String) }],
  });
  const { client } = service.org;
  const listed = await client.webhooks.listWebhookEndpoints({});
  expect(listed.endpoints.map(({ id }) => id)).toContain(endpoint.id);
  const read = await service.org.rest("GET", `${path}/${endpoint.id}`);
  expect(read.body.data.endpoint).toEqual(endpoint);
  expect(JSON.stringify([listed.endpoints.map((one) => one.url), read.body])).not.toContain(secret);
  const event = (await client.audit.listAuditEvents({ action: "webhook.create" })).events[0];
  expect(event).toMatchObject({ target: endpoint.id });
  expect(event?.details).not.toContain(secret);
  await client.webhooks.deleteWebhookEndpoint({ id: endpoint.id });
  const gone = await service.org.rest("DELETE", `${path}/${endpoint.id}`);
  expect(gone).toMatchObject({ status: 404, body: { error: expect.stringContaining("no such endpoint") } });
  const left = await service.postgres.asOwner(
    `select 1 from webhook_secrets where endpoint_id = '${endpoint.id}'`,
  );
  expect(left).toHaveLength(0);
});

test("an endpoint of another organisation looks like one that does not exist", async () => {
  const { endpoint } = await service.org.client.webhooks.createWebhookEndpoint({ url, types });
  const other = await service.newOrganization("globex");
  for (const method of ["GET", "DELETE"]) {
    const theirs = await other.rest(method, `${path}/${endpoint!.id}`);
    const unknown = await other.rest(method, `${path}/whe_missing`);
    expect({ ...theirs.body, requestId: "" }).toEqual({ ...unknown.body, requestId: "" });
    expect(theirs.status).toBe(404);
  }
  expect((await other.client.webhooks.listWebhookEndpoints({})).endpoints).toEqual([]);
});

describe("where events are sent to", () => {
  test.each([
    ["https://shop.example/hooks/", "https://shop.example/hooks/"],
    ["HTTPS://Shop.Example", "https://shop.example"],
    ["https://shop.example:8443/a%20b", "https://shop.example:8443/a%20b"],
    ["http://127.0.0.1:9/x", "http://127.0.0.1:9/x"],
    ["http://localhost:9/x", "http://localhost:9/x"],
    ["http://hooks.internal/x", "http://hooks.internal/x"],
  ])("%s is kept as %s", async (given, kept) => {
    const { body } = await service.org.rest("POST", path, { url: given, types });
    expect(body.data.endpoint.url).toBe(kept);
  });

  test.each([
    ["http://shop.example/hooks", /^url: give an https:\/\/ URL/],
    ["http://evilhooks.internal/x", /^url: give an https:\/\/ URL/],
    ["https://10.0.0.1/x", /may not be called from here/],
    ["http://169.254.169.254/latest", /may not be called from here/],
    ["https://0x7f000002/x", /may not be called from here/],
    ["https://metadata.google.internal/", /may not be called from here/],
    ["https://shop.example/hooks?token=t0ken", /^url: leave out query/],
    ["https://u:p4ss@shop.example/", /^url: leave out user name/],
    ["https://shop.example/a/../b", /^url: in its path/],
    ["ftp://shop.example/", /^url: give an absolute/],
    ["https:\\\\shop.example", /^url: leave out spaces/],
  ])("%s is refused", async (given, problem) => {
    const { status, body } = await service.org.rest("POST", path, { url: given, types });
    expect([status, body.error]).toEqual([400, expect.stringMatching(problem)]);
    expect(JSON.stringify(body)).not.toMatch(/t0ken|p4ss/);
  });
});

describe("which events it gets", () => {
  test.each([
    ["audit.*", "audit:view"],
    ["connection.unhealthy", "connections:view"],
    ["api_key.*", "api:manage"],
    ["channel.gap", "events:view"],
    ["channel:chn_00000000000000000000000000/*", "events:view"],
  ])("%s takes the scope %s", async (type, scope) => {
    const all = ["audit:view", "connections:view", "api:manage", "events:view"];
    const lacking = await keyWith(all.filter((one) => one !== scope));
    const refused = await lacking.rest("POST", path, { url, types: ["webhook.*", type] });
    expect(refused).toMatchObject({ status: 403, body: { error: `missing scope: ${scope}` } });
  });

  test.each([
    "*",
    "a*",
    "channel*",
    "channel:*",
    "payment.settled",
    "audit.",
    "audit",
    "channel:chn_1/*",
    "audit.*x",
  ])("%s is no pattern", async (type) => {
    const refused = await service.org.rest("POST", path, { url, types: [type] });
    expect(refused).toMatchObject({
      status: 400,
      body: { error: expect.stringMatching(/^types: .*selects nothing/) },
    });
  });

  test("a channel that the caller does not have looks like one that does not exist", async () => {
    const missing = ["channel:chn_00000000000000000000000000/*"];
    const refused = await service.org.rest("POST", path, { url, types: missing });
    expect(refused).toMatchObject({ status: 404, body: { error: expect.stringMatching(/^log not found/) } });
  });

  test("a key that is limited to some connections has nothing sent that tells of all", async () => {
    const limited = await keyWith(["audit:view", "api:manage"], { connections: { rights: [] } });
    const refused = await limited.rest("POST", path, { url, types: ["audit.*"] });
    expect(refused).toMatchObject({ status: 403, body: { error: expect.stringMatching(/limited to some/) } });
    expect((await limited.rest("POST", path, { url, types: ["api_key.*"] })).status).toBe(201);
  });
});

describe("headers of its own", () => {
  test("are known by their names, and their values are nowhere in plain", async () => {
    const headers = { Authorization: "Bearer c4nary", "X-Code": "c4nary-too" };
    const { body } = await service.org.rest("POST", path, { url, types, headers });
    expect(body.data.endpoint.headerNames).toEqual(["authorization", "x-code"]);
    const rows = await service.postgres.asOwner(
      "select e::text from webhook_endpoints e union all select details::text from audit_events",
    );
    const seen = JSON.stringify([body, rows]) + service.logged();
    expect(seen).not.toMatch(/c4nary|63346e617279/);
  });

  test.each([
    [{ "Webhook-Id": "1" }, /frames or signs/],
    [{ "X-QE-Signature": "1" }, /frames or signs/],
    [{ "Content-Type": "text/plain" }, /frames or signs/],
    [{ Host: "a" }, /frames or signs/],
    [{ "X-A": "1", "x-a": "2" }, /given twice/],
    [{ "X-A": "a\r\nb: c" }, /visible ASCII/],
    [{ "X-A": " a" }, /visible ASCII/],
  ])("%j is refused", async (headers, problem) => {
    const { status, body } = await service.org.rest("POST", path, { url, types, headers });
    expect([status, body.error]).toEqual([400, expect.stringMatching(problem)]);
  });
});

test("a registration that is repeated under its name makes one endpoint", async () => {
  const named = { "idempotency-key": "register-shop" };
  const first = await service.org.rest("POST", path, { url, types }, named);
  const again = await service.org.rest("POST", path, { url, types }, named);
  expect(first.status).toBe(201);
  expect(again).toMatchObject({
    status: 409,
    body: { error: expect.stringContaining(first.body.data.endpoint.id) },
  });
});

test("an organisation has at most 1,000 endpoints, also if two are the last at the same time", async () => {
  const { client, orgId } = await service.newOrganization("initech");
  const create = () => client.webhooks.createWebhookEndpoint({ url, types });
  await create();
  await service.postgres.asOwner(
    `insert into webhook_endpoints select (jsonb_populate_record(e, jsonb_build_object('id', 'whe_' || n))).*
     from webhook_endpoints e, generate_series(1, 998) n where e.org_id = $1`,
    [orgId],
  );
  const both = await Promise.allSettled([create(), create()]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  await expect(create()).rejects.toMatchObject({
    code: Code.ResourceExhausted,
    rawMessage: expect.stringMatching(/^your organisation has 1000 webhook endpoints, and none was made/),
  });
});
