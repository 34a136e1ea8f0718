import { afterAll, beforeAll, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let postgres: TestDatabase;
let service: TestService;
/** Another replica, from which nothing on loopback may be called. */
let strict: TestService;
let upstream: Upstream;
let ids: Record<"shared" | "hers", string>;

beforeAll(async () => {
  [postgres, upstream] = await Promise.all([createTestDatabase(), startUpstream()]);
  const rootKey = newRootKeyText();
  service = await startService({ postgres, rootKey });
  strict = await startService({ postgres, rootKey, outboundAllow: "" });
  const { user } = await service.org.client.directory.upsertUser({ email: "her@bank.example" });
  const hers = await keyFor({ actAsUserId: user!.id });
  ids = { shared: await create(service.org, "org"), hers: await create(hers, "owner") };
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await strict[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

async function create(by: Presenter, visibility: string): Promise<string> {
  const { body } = await by.rest("POST", "/api/connections", {
    ...{ integration: "custom:ledger", authMethod: "bearer", baseUrl: upstream.url, visibility },
    credentials: { token: "canary-token" },
  });
  return body.data.connection.id;
}

async function keyFor(more: object) {
  const wanted = { name: "k", scopes: ["connections:view", "connections:use", "connections:write"], ...more };
  const { body } = await service.org.rest("POST", "/api/api-keys", wanted);
  return {
    id: body.data.apiKey.id as string,
    ...service.as(body.data.secret),
  };
}

/** What the audit log has of refusals of a key. */
async function refusalsOf(target: string) {
  const { events } = await service.org.client.audit.listAuditEvents({ target, action: "api_key.refused" });
  return events.map(({ details }) => details);
}

const call = (by: Presenter, id: string, path = "/v1") =>
  by.rest("POST", "/api/service-calls", { service: id, method: "GET", path });

test.each<
  [
    reason: string,
    refuse: () => Promise<[keyId: string, connectionId: string | null, requestId: string | null]>,
  ]
>([
  [
    "CONNECTION_NOT_ALLOWED",
    async () => {
      const rights = [{ id: ids.shared, pathPrefixes: ["/v1"] }];
      const key = await keyFor({ connections: { rights } });
      return [key.id, ids.shared, (await call(key, ids.shared, "/v2")).headers.get("x-request-id")];
    },
  ],
  [
    "CONNECTION_NOT_ALLOWED",
    async () => {
      const key = await keyFor({ connections: { rights: [{ id: ids.shared, methods: ["GET"] }] } });
      const { headers } = await key.rest("DELETE", `/api/connections/${ids.shared}`);
      return [key.id, null, headers.get("x-request-id")];
    },
  ],
  [
    "NOT_OWNER",
    async () => {
      const key = await keyFor({});
      return [key.id, ids.hers, (await call(key, ids.hers)).headers.get("x-request-id")];
    },
  ],
  [
    "ADDRESS_DENIED",
    async () => {
      const key = await keyFor({});
      const { headers } = await call(strict.as(key.secret), ids.shared);
      return [key.id, null, headers.get("x-request-id")];
    },
  ],
])("a call that is refused with %s is in the audit log", async (reason, refuse) => {
  const [keyId, connectionId, requestId] = await refuse();
  const recorded = expect.objectContaining({ reason, connectionId, requestId, suppressed: 0 });
  await expect.poll(() => refusalsOf(keyId), { timeout: 30_000 }).toStrictEqual([recorded]);
  expect(JSON.stringify(await refusalsOf(keyId))).not.toContain("canary");
});

test("a stream that is refused is recorded as a call is", async () => {
  const key = await keyFor({ connections: { rights: [{ id: ids.shared, pathPrefixes: ["/v1"] }] } });
  const headers = { authorization: `Bearer ${key.secret}` };
  const reply = await fetch(`${service.url}/api/connections/${ids.shared}/proxy/v2`, { headers });
  expect(reply.status).toBe(403);
  const recorded = expect.objectContaining({ reason: "CONNECTION_NOT_ALLOWED", connectionId: ids.shared });
  await expect.poll(() => refusalsOf(key.id), { timeout: 30_000 }).toStrictEqual([recorded]);
});

test("a client that is refused again and again writes one event a minute for each reason", async () => {
  const key = await keyFor({
    connections: { rights: [{ id: ids.shared, pathPrefixes: ["/v1"] }, { id: ids.hers }] },
  });
  for (let i = 0; i < 20; i++) await call(key, ids.shared, "/v2");
  await call(key, ids.hers);
  await expect.poll(() => refusalsOf(key.id), { timeout: 30_000 }).toHaveLength(2);
  service.clock.advance(60_000);
  await call(key, ids.shared, "/v2");
  await expect.poll(() => refusalsOf(key.id), { timeout: 30_000 }).toHaveLength(3);
  expect((await refusalsOf(key.id))[0]).toMatchObject({ reason: "CONNECTION_NOT_ALLOWED", suppressed: 19 });
});

test("what policy does not refuse leaves no refusal", async () => {
  const key = await keyFor({ scopes: ["connections:view", "connections:use"] });
  expect((await call(key, "custom:nothing")).status).toBe(404);
  expect((await key.rest("DELETE", `/api/connections/${ids.shared}`)).status).toBe(403);
  const other = await keyFor({});
  await call(other, ids.hers);
  // Events are recorded in their order, so the earlier ones would be there by now.
  await expect.poll(() => refusalsOf(other.id), { timeout: 30_000 }).toHaveLength(1);
  expect(await refusalsOf(key.id)).toStrictEqual([]);
});
