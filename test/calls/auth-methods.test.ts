import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { InjectionTemplate, Recipe } from "#src/integrations/integration.ts";
import { startProxy, type PostgresProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Asked, type Upstream } from "../support/upstream.ts";

let postgres: TestDatabase;
let proxy: PostgresProxy;
let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  postgres = await createTestDatabase();
  proxy = await startProxy(postgres.url);
  service = await startService({ postgres: { ...postgres, url: proxy.url } });
  upstream = await startUpstream();
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});
beforeEach(() => upstream.answer({}));

const secrets = { key: "stored-canary-1", password: "pa:ss-canary-2" };
let serial = 0;

/** Connects a service that takes the secrets above, and a parameter `account`, in this way. */
async function connect(inject: InjectionTemplate, requiredHeaders: Recipe["headers"] = {}): Promise<string> {
  const serviceSlug = `custom:method-${serial++}`;
  const used = (name: string) => JSON.stringify(inject).includes(`{${name}}`);
  const given = Object.entries({ ...secrets, account: "acme" }).filter(([name]) => used(name));
  const fields = given.map(([name]) => ({ name, secret: name in secrets }));
  const authMethods = [{ id: "own", type: "custom", label: "Its own", fields, inject }];
  const definition = { name: serviceSlug, authMethods, requiredHeaders };
  const defined = await service.org.rest("PUT", `/api/integrations/${serviceSlug}`, definition);
  expect(defined.body).not.toHaveProperty("error");
  const made = await service.org.rest("POST", "/api/connections", {
    ...{ integration: serviceSlug, serviceSlug, authMethod: "own", baseUrl: upstream.url },
    credentials: Object.fromEntries(given),
  });
  expect(made.status).toBe(201);
  return serviceSlug;
}

function call(name: string, more: Record<string, unknown> = {}) {
  return service.org.rest("POST", "/api/service-calls", {
    service: name,
    method: "GET",
    path: "/x",
    ...more,
  });
}

const methods: [string, InjectionTemplate, (asked: Asked) => unknown, unknown][] = [
  [
    "a header",
    { headers: { "X-Api-Key": "{key}" } },
    ({ headers }) => headers["x-api-key"],
    "stored-canary-1",
  ],
  ["the query", { query: { key: "{key}" } }, ({ url }) => url, "/x?key=stored-canary-1"],
  ["a cookie", { cookies: { session: "{key}" } }, ({ headers }) => headers.cookie, "session=stored-canary-1"],
  [
    "HTTP Basic",
    { basic: { username: "{account}", password: "{password}" } },
    ({ headers }) => Buffer.from(headers.authorization!.slice("Basic ".length), "base64").toString(),
    "acme:pa:ss-canary-2",
  ],
  [
    "several of them",
    { headers: { "X-Account": "{account}", "X-Key": "v1 {key}" }, query: { p: "{password}" } },
    ({ url, headers }) => [url, headers["x-account"], headers["x-key"]],
    ["/x?p=pa%3Ass-canary-2", "acme", "v1 stored-canary-1"],
  ],
  ["the body", { body: { token: "{key}" } }, ({ body }) => body, '{"a":1,"token":"stored-canary-1"}'],
];

/** The body of a call whose credential goes into it. */
const bodyFor = (template: InjectionTemplate, json: Record<string, unknown>) =>
  template.body && { method: "POST", json };

test.each(methods)(
  "a credential in %s arrives, whatever the caller says there, and costs no statement once it is known",
  async (_, template, seen, expected) => {
    const name = await connect(template, { "X-Version": "2026" });
    const reply = await call(name, {
      headers: { "x-api-key": "mine", authorization: "mine", cookie: "session=mine", "x-version": "mine" },
      query: Object.fromEntries(Object.keys(template.query ?? {}).map((parameter) => [parameter, "mine"])),
      ...bodyFor(template, { token: "mine", a: 1 }),
    });
    expect(reply.body.data).toMatchObject({ status: 200 });
    const asked = upstream.asked.at(-1)!;
    expect(seen(asked)).toStrictEqual(expected);
    expect(asked.headers["x-version"]).toBe("2026");

    const statements = async () => {
      const before = proxy.statements();
      for (let i = 0; i < 20; i++) expect((await call(name, bodyFor(template, {}))).status).toBe(200);
      return proxy.statements() - before;
    };
    // Every some seconds, what was noted of calls is written, which may fall into one of the rounds.
    await expect.poll(statements, { timeout: 30_000 }).toBe(0);
  },
);

test.each(methods)(
  "a credential in %s is withheld when the answer repeats what was sent, and is in no log",
  async (_, template) => {
    const name = await connect(template);
    upstream.answer(({ url, headers, body }) => ({ body: [url, JSON.stringify(headers), body].join("\n") }));
    const reply = await call(name, bodyFor(template, {}));
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([502, "CREDENTIAL_REFLECTED"]);
    expect(JSON.stringify(reply.body) + service.logged()).not.toContain("canary");
  },
);

test("that a service repeated a credential is recorded once a minute, with the call and without the credential", async () => {
  const name = await connect({ headers: { "x-api-key": "{key}" } });
  upstream.answer({ status: 418, body: `you sent ${secrets.key}` });
  const replies = [await call(name), await call(name)];
  const { connections, audit } = service.org.client;
  const { connections: all } = await connections.listConnections({});
  const { id } = all.find(({ serviceSlug }) => serviceSlug === name)!;
  const events = async () => {
    const found = await audit.listAuditEvents({ target: id, action: "connection.reflected" });
    return found.events.map(({ details }) => details);
  };
  await expect.poll(events, { timeout: 30_000 }).toStrictEqual([
    {
      upstreamStatus: 418,
      requestId: replies[0]!.headers.get("x-request-id"),
      calledBy: service.org.apiKeyId,
      suppressed: 0,
    },
  ]);
  service.clock.advance(60_000);
  await call(name);
  await expect.poll(events, { timeout: 30_000 }).toHaveLength(2);
  expect(await events()).toContainEqual(expect.objectContaining({ suppressed: 1 }));
});

test("a recipe that sets a header of ours is refused by its name, and nothing is sent", async () => {
  const before = upstream.asked.length;
  const name = await connect({ headers: { "x-api-key": "{key}" } });
  // No definition is taken that says so.
  const spoiled =
    "update connections set recipe = replace(recipe::text, 'x-api-key', 'Host')::jsonb where slug = $1";
  await postgres.asOwner(spoiled, [name]);
  const reply = await call(name);
  expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([
    400,
    "INVALID_OUTBOUND_REQUEST",
  ]);
  expect(reply.body.error).toContain("Host");
  expect(JSON.stringify(reply.body)).not.toContain("canary");
  expect(upstream.asked).toHaveLength(before);
});
