import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());
beforeEach(async () => {
  upstream = await startUpstream();
});
afterEach(async () => {
  await service.postgres.asOwner("delete from webhook_endpoints");
  await upstream[Symbol.asyncDispose]();
});

const both = ["audit.user.*", "webhook.paused"];
const all = ["webhooks:manage", "audit:view"];
const review = () => service.app.loops.webhookOwners.runOnce();

/** An endpoint that a key with these scopes registered. */
async function registered(types: string[], more: object = {}) {
  const { client } = service.org;
  const { apiKey, secret } = await client.apiKeys.createApiKey({ name: "owner", scopes: all, ...more });
  const { webhooks } = service.as(secret).client;
  const { endpoint } = await webhooks.createWebhookEndpoint({ url: upstream.url, types });
  return { id: endpoint!.id, keyId: apiKey!.id };
}

const endpointOf = async (id: string) =>
  (await service.org.client.webhooks.getWebhookEndpoint({ id })).endpoint!;
const pausesOf = async (id: string) =>
  (await service.org.client.audit.listAuditEvents({ action: "webhook.pause", target: id })).events;

/** What came to the receiver, by type, once everything that is due is done. */
async function delivered(): Promise<string[]> {
  await service.app.loops.webhooks.runOnce();
  return upstream.asked.map(({ body }) => (JSON.parse(body) as { type: string }).type);
}

let made = 0;
const happen = () => service.org.client.directory.upsertUser({ email: `user${made++}@example.com` });

test("types that a narrowed key may no longer read pause, are said, and go on with whoever may read them", async () => {
  const { id, keyId } = await registered(both);
  const others = { url: upstream.url, types: ["webhook.paused"] };
  await service.org.client.webhooks.createWebhookEndpoint(others);
  await happen();
  expect(await delivered()).toEqual(["audit.user.create"]);
  await service.org.client.apiKeys.updateApiKey({ id: keyId, scopes: ["webhooks:manage"] });
  await review();
  expect(await endpointOf(id)).toMatchObject({ state: "active", pausedTypes: ["audit.user.*"] });
  await happen();
  expect(await delivered()).toEqual(["audit.user.create", "webhook.paused"]);
  const [pause] = await pausesOf(id);
  expect(pause?.apiKeyId).toBeUndefined();
  expect(pause?.details).toMatchObject({ reason: "rights", types: ["audit.user.*"] });
  await review();
  expect(await pausesOf(id)).toHaveLength(1);

  const { endpoint } = await service.org.client.webhooks.updateWebhookEndpoint({ id, types: both });
  expect(endpoint).toMatchObject({ pausedTypes: [], ownerKeyId: service.org.apiKeyId });
  await review();
  await happen();
  expect((await delivered()).slice(2)).toContain("audit.user.create");
});

test.each<[string, object, (keyId: string) => Promise<unknown>]>([
  ["is revoked", {}, (id) => service.org.client.apiKeys.revokeApiKey({ id })],
  [
    "loses all rights to connections",
    {},
    (id) => service.org.client.apiKeys.updateApiKey({ id, connections: { rights: [] } }),
  ],
  [
    "ends by itself",
    { expiresAt: timestampFromDate(new Date(Date.now() + 3_600_000)) },
    async () => service.clock.advance(3_600_000),
  ],
])("an endpoint of a key that %s stands still, and loses nothing", async (_, more, end) => {
  const { id, keyId } = await registered(["audit.user.*"], more);
  await end(keyId);
  await review();
  const paused = await endpointOf(id);
  expect(paused).toMatchObject({ state: "paused", stateReason: "rights", pausedTypes: ["audit.user.*"] });
  await happen();
  expect(await delivered()).toEqual([]);
  const { endpoint } = await service.org.client.webhooks.updateWebhookEndpoint({
    id,
    types: ["audit.user.*"],
  });
  expect(endpoint).toMatchObject({ state: "active", pausedTypes: [], positions: paused.positions });
  expect(await delivered()).toEqual(["audit.user.create"]);
});

test("a key that changes otherwise, or gains, pauses nothing", async () => {
  const { id, keyId } = await registered(both);
  await review();
  await service.org.client.apiKeys.updateApiKey({ id: keyId, name: "renamed" });
  await service.org.client.apiKeys.updateApiKey({ id: keyId, scopes: [...all, "api:manage"] });
  await service.org.client.apiKeys.rotateApiKey({ id: keyId });
  await review();
  expect(await endpointOf(id)).toMatchObject({ state: "active", pausedTypes: [] });
  expect(await pausesOf(id)).toEqual([]);
});
