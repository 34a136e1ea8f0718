import { Code } from "@connectrpc/connect";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const sha256 = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

async function register(slug: string, apiKey = "secret-of-the-sibling", baseUrl = upstream.url) {
  const { body } = await service.org.rest("POST", "/api/service-connections", {
    serviceSlug: slug,
    baseUrl,
    apiKey,
  });
  return body.data.connection as { id: string; createdAt: string };
}

describe("registering a connection", () => {
  test("answers 201 with the requirement's shape and the hash of the key, never the key", async () => {
    const reply = await service.org.rest("POST", "/api/service-connections", {
      serviceSlug: "aml",
      baseUrl: "https://aml.quantumelixir.tech",
      apiKey: "aml_a8f3c92e",
    });
    expect(reply.status).toBe(201);
    expect(reply.body).toStrictEqual({
      data: {
        created: true,
        connection: {
          id: expect.stringMatching(/^scn_[0-9A-HJKMNP-TV-Z]{26}$/) as string,
          serviceSlug: "aml",
          baseUrl: "https://aml.quantumelixir.tech",
          active: true,
          apiKeyHash: sha256("aml_a8f3c92e"),
          createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
        },
      },
    });
  });

  test("a second time replaces base URL and key, and keeps id and createdAt", async () => {
    const first = await register("identity");
    const reply = await service.org.rest("POST", "/api/service-connections", {
      serviceSlug: "identity",
      baseUrl: "https://identity.quantumelixir.tech",
      apiKey: "another",
    });
    expect(reply.status).toBe(201);
    expect(reply.body.data).toMatchObject({
      created: false,
      connection: { id: first.id, createdAt: first.createdAt, apiKeyHash: sha256("another") },
    });
  });

  test.each([
    ["an unknown slug", { serviceSlug: "crm" }, /serviceSlug: give one of identity, aml/],
    ["an upper-case custom slug", { serviceSlug: "custom:Bank" }, /custom:<slug>/],
    ["a custom slug of 64 characters", { serviceSlug: `custom:${"a".repeat(64)}` }, /custom:<slug>/],
    ["a base URL that is not http", { baseUrl: "ftp://files.example" }, /http/],
    ["a base URL with credentials", { baseUrl: "https://me:pw@bank.example" }, /base ?url/i],
    ["a base URL with a query", { baseUrl: "https://bank.example/?a=1" }, /query/],
    ["a private address", { baseUrl: "http://10.0.0.1" }, /PATCHBAY_OUTBOUND_ALLOW/],
    [
      "a key that cannot stand in a header",
      { apiKey: "two words" },
      /apiKey: only visible ASCII .* no spaces/,
    ],
    ["a key with its scheme", { apiKey: "Bearer abc" }, /apiKey: leave out "Bearer ", .* give the key alone/],
    ["a key with its scheme in lower case", { apiKey: " bearer abc\n" }, /apiKey: leave out "Bearer "/],
    ["a whole header", { apiKey: "Authorization: Bearer abc" }, /apiKey: leave out "Bearer "/],
    [
      "a key with a line break",
      { apiKey: "abc\r\n" },
      /apiKey: has white space at its end, such as a line break/,
    ],
    ["a key with a space before it", { apiKey: " abc" }, /apiKey: has white space at its start/],
    ["no key for a custom service", { apiKey: undefined }, /apiKey/],
  ])("refuses %s with 400 and says why", async (_, change, message) => {
    const reply = await service.org.rest("POST", "/api/service-connections", {
      serviceSlug: "custom:bank",
      baseUrl: "https://bank.example",
      apiKey: "k",
      ...change,
    });
    expect(reply.status).toBe(400);
    expect(reply.body).toStrictEqual({ error: expect.stringMatching(message) as string });
    expect(JSON.stringify(reply.body)).not.toContain("pw");
  });

  test("40 at the same time leave one row, and an unbroken chain of old and new hashes in the audit", async () => {
    const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
    await Promise.all(keys.map((apiKey) => register("custom:race", apiKey)));

    const rows = await service.postgres.asOwner("select id from connections where slug = 'custom:race'");
    expect(rows).toHaveLength(1);
    const id = rows[0]!["id"] as string;
    const { events } = await service.org.client.audit.listAuditEvents({ target: id });
    const chain = events
      .reverse()
      .map((event) => event.details!["apiKeyHash"] as { before: string | null; after: string });
    expect(chain).toHaveLength(40);
    expect(chain[0]!.before).toBeNull();
    expect(chain.slice(1).map(({ before }) => before)).toStrictEqual(
      chain.slice(0, -1).map(({ after }) => after),
    );
    expect(new Set(chain.map(({ after }) => after))).toStrictEqual(new Set(keys.map(sha256)));
  });
});

describe("reading and changing connections", () => {
  test("the list has the requirement's shape, without secret or hash", async () => {
    const org = await service.newOrganization("lister");
    await org.client.connections.upsertServiceConnection({
      serviceSlug: "bank-statement",
      baseUrl: upstream.url,
      apiKey: "listed-secret",
    });
    const reply = await org.rest("GET", "/api/service-connections");
    expect(reply.status).toBe(200);
    expect(reply.body).toStrictEqual({
      data: {
        connections: [
          {
            id: expect.any(String) as string,
            serviceSlug: "bank-statement",
            baseUrl: upstream.url,
            active: true,
            createdAt: expect.any(String) as string,
          },
        ],
      },
    });
  });

  test("a connection of another organisation looks like one that does not exist", async () => {
    const { id } = await register("custom:mine");
    const other = await service.newOrganization("globex");
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["POST", "/test"],
    ] as const) {
      const theirs = await other.rest(method, `/api/service-connections/${id}${path}`);
      const nobodys = await other.rest(
        method,
        `/api/service-connections/scn_01ARZ3NDEKTSV4RRFFQ69G5FAV${path}`,
      );
      expect([theirs.status, theirs.body]).toStrictEqual([404, nobodys.body]);
    }
    const call = other.client.connections.callService({ service: "custom:mine", method: "GET", path: "/" });
    await expect(call).rejects.toMatchObject({ code: Code.NotFound });
  });

  test("both names of the path reach the same connection", async () => {
    const { id } = await register("custom:two-names");
    const one = await service.org.rest("GET", `/api/service-connections/${id}`);
    const other = await service.org.rest("GET", `/api/connections/${id}`);
    expect(one.body).toStrictEqual(other.body);
    expect(one.body.data.connection.id).toBe(id);
  });

  test("a base URL of another origin needs the key again, and nothing changes without it", async () => {
    const { id } = await register("custom:moving");
    const path = `/api/service-connections/${id}`;
    const refused = await service.org.rest("PATCH", path, { baseUrl: "https://evil.example" });
    expect([refused.status, refused.headers.get("x-error-reason")]).toStrictEqual([
      400,
      "CREDENTIAL_REQUIRED",
    ]);
    expect((await service.org.rest("GET", path)).body.data.connection.baseUrl).toBe(upstream.url);

    const withKey = await service.org.rest("PATCH", path, { baseUrl: "https://new.example", apiKey: "new" });
    expect(withKey.body.data.connection).toMatchObject({
      baseUrl: "https://new.example",
      apiKeyHash: sha256("new"),
    });
  });

  describe("without the key, a base URL", () => {
    const move = async (from: string, to: string) => {
      const { id } = await register("custom:moved", "k", from);
      const before = upstream.asked.length;
      const reply = await service.org.rest("PATCH", `/api/service-connections/${id}`, { baseUrl: to });
      const call = { service: "custom:moved", method: "GET", path: "/x" };
      await service.org.rest("POST", "/api/service-calls", call);
      return { reply, called: upstream.asked.slice(before).map(({ url }) => url) };
    };

    test.each([
      ["below the old path", "/v1", "/v1/eu", "/v1/eu/x"],
      ["far below it", "/v1", "/v1/eu/west", "/v1/eu/west/x"],
      ["below the whole origin", "", "/v1", "/v1/x"],
      ["that is the old one with a slash", "/v1", "/v1/", "/v1/x"],
      ["with a slash at the end below the old one", "/v1/", "/v1/eu/", "/v1/eu/x"],
    ])("%s is taken: %s to %s", async (_, from, to, called) => {
      const moved = await move(upstream.url + from, upstream.url + to);
      expect([moved.reply.status, moved.called]).toStrictEqual([200, [called]]);
    });

    test("in another spelling of the same place is taken", async () => {
      const { port } = new URL(upstream.url);
      const moved = await move(`${upstream.url}/v1`, `HTTP://127.0.0.1:${port}/v1`);
      expect([moved.reply.status, moved.called]).toStrictEqual([200, ["/v1/x"]]);
    });

    test.each([
      ["beside the old path", "/v1", "/v2"],
      ["that begins alike", "/v1", "/v10"],
      ["that begins alike and goes on", "/v1", "/v1-internal/admin"],
      ["above the old path", "/v1/eu", "/v1"],
      ["of the whole origin", "/v1", ""],
      ["of the whole origin with a slash", "/v1", "/"],
      ["in another case", "/v1", "/V1"],
      ["that a service could read as the old one", "/v1", "/%76%31"],
      ["with the old path further behind", "/v1", "/x/v1"],
      ["whose slash is encoded", "/v1", "/v1%2feu"],
    ])("%s needs it, and nothing changes: %s to %s", async (_, from, to) => {
      const { reply, called } = await move(upstream.url + from, upstream.url + to);
      expect([reply.status, reply.headers.get("x-error-reason"), reply.body]).toStrictEqual([
        400,
        "CREDENTIAL_REQUIRED",
        { error: expect.stringMatching(/base URL's path .* the key must be given again/) as string },
      ]);
      expect(called).toStrictEqual([`${from}/x`]);
    });

    test("that went below its old path does not come back, as another would not", async () => {
      const { id } = await register("custom:back", "k", `${upstream.url}/v1`);
      const patch = (to: string, fields = {}) =>
        service.org.rest("PATCH", `/api/service-connections/${id}`, {
          baseUrl: upstream.url + to,
          ...fields,
        });
      expect((await patch("/v1/eu")).status).toBe(200);
      expect((await patch("/v1")).status).toBe(400);
      expect((await patch("/v1/us")).status).toBe(400);
      expect((await patch("/v1/us", { apiKey: "k" })).status).toBe(200);
    });
  });

  test.each([
    ["an unknown field", { serviceSlug: "aml" }, /serviceSlug/],
    ["clearing the base URL", { baseUrl: null }, /base_?url/i],
    ["a wrong type", { active: "yes" }, /active/],
    ["a key with its scheme", { apiKey: "Bearer abc" }, /apiKey: leave out "Bearer "/],
  ])("an update refuses %s by its name", async (_, body, message) => {
    const { id } = await register("custom:strict");
    const reply = await service.org.rest("PATCH", `/api/service-connections/${id}`, body);
    expect([reply.status, reply.body]).toStrictEqual([
      400,
      { error: expect.stringMatching(message) as string },
    ]);
  });

  test("deleting erases the sealed key in the same transaction, and a second time answers 404", async () => {
    const { id } = await register("custom:gone");
    const sealed = () => service.postgres.asOwner("select 1 from credentials where connection_id = $1", [id]);
    expect(await sealed()).toHaveLength(1);
    const first = await service.org.rest("DELETE", `/api/service-connections/${id}`);
    expect([first.status, first.body]).toStrictEqual([200, { data: {} }]);
    expect(await sealed()).toHaveLength(0);
    expect((await service.org.rest("DELETE", `/api/service-connections/${id}`)).status).toBe(404);
  });

  test("lists are paged with an opaque token, and a made-up one is refused", async () => {
    const org = await service.newOrganization("pages");
    for (const slug of ["custom:a", "custom:b", "custom:c"]) {
      service.clock.advance(1);
      await org.client.connections.upsertServiceConnection({
        serviceSlug: slug,
        baseUrl: upstream.url,
        apiKey: "k",
      });
    }
    const first = await org.rest("GET", "/api/service-connections?pageSize=2");
    expect(first.body.data.connections).toHaveLength(2);
    const token = encodeURIComponent(first.body.data.nextPageToken as string);
    const second = await org.rest("GET", `/api/service-connections?pageSize=2&pageToken=${token}`);
    expect(second.body.data.connections.map((one: { serviceSlug: string }) => one.serviceSlug)).toEqual([
      "custom:c",
    ]);
    expect(second.body.data).not.toHaveProperty("nextPageToken");
    expect((await org.rest("GET", "/api/service-connections?pageToken=made-up")).status).toBe(400);
  });
});

describe("health", () => {
  test("is stale only when more than five minutes passed since the last good answer", async () => {
    await using aside = await startService();
    const { client } = aside.org;
    const { connection } = await client.connections.upsertServiceConnection({
      serviceSlug: "aml",
      baseUrl: upstream.url,
      apiKey: "k",
    });
    const id = connection!.id;
    const unhealthy = async () => (await client.connections.getConnection({ id })).connection!.unhealthy;
    aside.clock.advance(5 * 60_000);
    expect(await unhealthy()).toBeUndefined();
    aside.clock.advance(1);
    expect(await unhealthy()).toBe(true);

    upstream.answer({ status: 500 });
    await client.connections.callService({ service: "aml", method: "GET", path: "/" });
    expect(await unhealthy()).toBe(true);
    upstream.answer({ status: 204, body: "" });
    await client.connections.callService({ service: "aml", method: "GET", path: "/" });
    expect(await unhealthy()).toBeUndefined();
  });

  test("a forced test answers unwrapped, moves lastHealthyAt on success, and never lastUsedAt", async () => {
    upstream.answer({ status: 404 });
    const { id } = await register("custom:tested");
    const good = await service.org.rest("POST", `/api/service-connections/${id}/test`);
    expect([good.status, good.body]).toStrictEqual([
      200,
      { ok: true, latencyMs: expect.any(Number) as number },
    ]);
    const seen = await service.org.rest("GET", `/api/service-connections/${id}`);
    expect(seen.body.data.connection).toHaveProperty("lastHealthyAt");
    expect(seen.body.data.connection).not.toHaveProperty("lastUsedAt");

    upstream.answer({ status: 503 });
    const bad = await service.org.rest("POST", `/api/service-connections/${id}/test`);
    expect([bad.status, bad.body]).toStrictEqual([
      200,
      { ok: false, error: expect.stringMatching(/^status: .*503/) as string },
    ]);
  });

  test("a test that cannot connect names the stage", async () => {
    const { id } = await register("custom:nobody", "k", "http://127.0.0.1:1");
    const reply = await service.org.rest("POST", `/api/service-connections/${id}/test`);
    expect(reply.body).toMatchObject({ ok: false, error: expect.stringContaining("TCP") as string });
  });

  test("a test sends no credential", async () => {
    upstream.answer({});
    const { id } = await register("custom:shy");
    const before = upstream.asked.length;
    await service.org.rest("POST", `/api/service-connections/${id}/test`);
    expect(upstream.asked[before]!.headers.authorization).toBeUndefined();
  });
});

test("an inactive connection refuses calls", async () => {
  const { id } = await register("custom:off");
  await service.org.rest("PATCH", `/api/service-connections/${id}`, { active: false });
  const call = service.org.client.connections.callService({
    service: "custom:off",
    method: "GET",
    path: "/",
  });
  const error = await call.catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: Code.FailedPrecondition });
  expect(reasonOf(error)).toBe("CONNECTION_INACTIVE");
});
