import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import type { AuthMethod } from "#src/integrations/integration.ts";
import { define } from "../support/integrations.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";
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

const basic = (password: string, username = "reader") => ({
  integration: "custom:ledger",
  authMethod: "basic",
  baseUrl: upstream.url,
  credentials: { username, password },
});

async function create(wanted: object, by: Presenter = service.org) {
  const { status, headers, body } = await by.rest("POST", "/api/connections", wanted);
  return { status, reason: headers.get("x-error-reason"), body, connection: body.data?.connection };
}

/** A key of the organisation's that is bound to a new user. */
async function boundKey(name: string, scopes = ["connections:view", "connections:write", "connections:use"]) {
  const { user } = await service.org.client.directory.upsertUser({ email: `${name}@acme.example` });
  const { secret } = await service.org.client.apiKeys.createApiKey({ name, scopes, actAsUserId: user!.id });
  return { userId: user!.id, ...service.as(secret) };
}

/** What the service was sent by a call through the connection. */
async function sentThrough(id: string) {
  await service.org.client.connections.callService({ service: id, method: "GET", path: "/" });
  return upstream.asked.at(-1)!;
}

describe("making a connection", () => {
  test("answers 201 with all that is known of it, the hash of its secrets and no secret", async () => {
    const { status, body, connection } = await create({
      ...basic("pass-word-1"),
      name: "Ledger, read only",
      tags: ["ledger", "team:payments"],
      metadata: { ticket: "PAY-7" },
    });
    expect(status).toBe(201);
    expect(connection).toStrictEqual({
      id: expect.stringMatching(/^scn_[0-9A-HJKMNP-TV-Z]{26}$/) as string,
      integration: "custom:ledger",
      authMethod: "basic",
      baseUrl: upstream.url,
      active: true,
      createdAt: expect.any(String) as string,
      visibility: "org",
      name: "Ledger, read only",
      tags: ["ledger", "team:payments"],
      metadata: { ticket: "PAY-7" },
      params: { username: "reader" },
      status: "ACTIVE",
      requestedScopes: [],
      grantedScopes: [],
      missingScopes: [],
      credentialHash: expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/) as string,
    });
    expect(JSON.stringify(body)).not.toContain("pass-word-1");
  });

  test("makes as many of one integration as are asked for, each with the credential that it was given", async () => {
    const passwords = ["one-password", "two-password", "three-password"];
    const made = await Promise.all(passwords.map((password) => create(basic(password))));
    for (const [index, { connection }] of made.entries()) {
      const { headers } = await sentThrough(connection.id as string);
      const expected = Buffer.from(`reader:${passwords[index]}`).toString("base64");
      expect(headers.authorization).toBe(`Basic ${expected}`);
    }
  });

  test("an API key goes into the header that its method names", async () => {
    const { connection } = await create({
      integration: "custom:ledger",
      authMethod: "api-key",
      baseUrl: upstream.url,
      credentials: { apiKey: "key-of-the-ledger" },
    });
    const { headers } = await sentThrough(connection.id as string);
    expect([headers["x-api-key"], headers.authorization]).toStrictEqual(["key-of-the-ledger", undefined]);
  });

  test("a slug makes it callable by that, and is refused to a second one", async () => {
    const wanted = { ...basic("first-password"), serviceSlug: "custom:by-slug" };
    const { connection } = await create(wanted);
    expect(connection.serviceSlug).toBe("custom:by-slug");
    expect((await sentThrough("custom:by-slug")).headers.authorization).toMatch(/^Basic /);
    const second = await create({ ...basic("second-password"), serviceSlug: "custom:by-slug" });
    expect([second.status, second.reason]).toStrictEqual([409, "SLUG_TAKEN"]);
  });

  test.each<[what: string, change: () => object, text: RegExp]>([
    ["a method that it has not", () => ({ authMethod: "kerberos" }), /authMethod: .* bearer, basic, api-key/],
    ["no credentials", () => ({ credentials: {} }), /username: /],
    ["a field that is not asked for", () => ({ params: { region: "eu" } }), /region: is not asked for/],
    [
      "a field that is given twice",
      () => ({ params: { username: "x" } }),
      /username: give it in credentials or/,
    ],
    ["a base URL with a query", () => ({ baseUrl: `${upstream.url}/?a=1` }), /query/],
    ["a private address", () => ({ baseUrl: "http://10.0.0.1" }), /PATCHBAY_OUTBOUND_ALLOW/],
    ["no base URL where the integration has none", () => ({ baseUrl: undefined }), /baseUrl/],
    ["a slug of another service", () => ({ serviceSlug: "aml" }), /serviceSlug: aml is a service of its own/],
    [
      "a slug that only its owner should see",
      () => ({ serviceSlug: "custom:mine", visibility: "owner" }),
      /visibility: .* serviceSlug/,
    ],
  ])("refuses %s with 400 and says why, without what was given", async (_, change, text) => {
    const { status, body } = await create({ ...basic("refused-password"), ...change() });
    expect([status, body.error]).toStrictEqual([400, expect.stringMatching(text)]);
    expect(JSON.stringify(body)).not.toContain("refused-password");
  });

  test("of an integration that nobody knows is refused as such", async () => {
    const { status, reason } = await create({ ...basic("unknown-password"), integration: "no-such-service" });
    expect([status, reason]).toStrictEqual([404, "UNKNOWN_INTEGRATION"]);
  });

  test("is its user's, who alone may make it private; a key of no user may not", async () => {
    const ada = await boundKey("ada");
    const { connection } = await create({ ...basic("her-password"), visibility: "owner" }, ada);
    expect(connection).toMatchObject({ ownerUserId: ada.userId, visibility: "owner" });
    const refused = await create({ ...basic("her-password"), visibility: "owner" });
    expect([refused.status, refused.body.error]).toStrictEqual([422, "api_key_not_bound_to_user"]);
    const shared = (await create(basic("shared-password"), ada)).connection;
    const bob = await boundKey("bob");
    const hiding = await bob.rest("PATCH", `/api/connections/${shared.id}`, { visibility: "owner" });
    expect(hiding.status).toBeGreaterThanOrEqual(400);
  });

  test("has one effect under one Idempotency-Key", async () => {
    const named = () =>
      service.org.rest("POST", "/api/connections", basic("named-password"), {
        "idempotency-key": "ledger-1",
      });
    const [first, again] = [await named(), await named()];
    expect([first.status, again.status, again.headers.get("x-error-reason")]).toStrictEqual([
      201,
      409,
      "ALREADY_CREATED",
    ]);
  });
});

describe("the lists", () => {
  test("of slugs stays as it is, without connections that have none; the other has all, by filters too", async () => {
    const org = await service.newOrganization("lister-of-all");
    const { connection: named } = (
      await org.rest("POST", "/api/service-connections", {
        serviceSlug: "aml",
        baseUrl: upstream.url,
        apiKey: "listed-key",
      })
    ).body.data;
    service.clock.advance(1);
    const { connection: tagged } = await create({ ...basic("listed-password"), tags: ["a"] }, org);
    service.clock.advance(1);
    const { connection: other } = await create(
      { ...basic("listed-password"), integration: "custom:other" },
      org,
    );

    const slugs = await org.rest("GET", "/api/service-connections");
    expect(slugs.body).toStrictEqual({
      data: {
        connections: [
          {
            id: named.id,
            serviceSlug: "aml",
            baseUrl: upstream.url,
            active: true,
            createdAt: expect.any(String) as string,
          },
        ],
      },
    });
    const idsOf = async (query: string) => {
      const { body } = await org.rest("GET", `/api/connections${query}`);
      return (body.data.connections as { id: string }[]).map(({ id }) => id);
    };
    expect(await idsOf("")).toStrictEqual([named.id, tagged.id, other.id]);
    expect(await idsOf("?tag=a")).toStrictEqual([tagged.id]);
    expect(await idsOf("?integration=custom:other")).toStrictEqual([other.id]);
    expect(await idsOf("?status=ACTIVE")).toHaveLength(3);
    expect(await idsOf("?status=REVOKED")).toHaveLength(0);
    expect(await idsOf("?owner=usr_of_nobody")).toHaveLength(0);
    const first = await org.rest("GET", "/api/connections?pageSize=2");
    expect(await idsOf(`?pageToken=${first.body.data.nextPageToken}`)).toStrictEqual([other.id]);
  });

  test("show nothing of another organisation, and its ids are those of connections that do not exist", async () => {
    const { connection } = await create(basic("hidden-password"));
    const org = await service.newOrganization("stranger");
    expect((await org.rest("GET", "/api/connections")).body.data.connections).toStrictEqual([]);
    const { connections } = org.client;
    const id = connection.id as string;
    const gone = { code: Code.NotFound };
    await expect(connections.getConnection({ id })).rejects.toMatchObject(gone);
    await expect(connections.updateConnection({ id, name: "mine" })).rejects.toMatchObject(gone);
    await expect(connections.checkCredential({ id, apiKey: "k" })).rejects.toMatchObject(gone);
    await expect(
      connections.updateConnection({ id, credentials: { username: "a", password: "b" }, verify: true }),
    ).rejects.toMatchObject(gone);
  });
});

describe("changing a connection", () => {
  test("replaces what people decide of it, and leaves the rest", async () => {
    const { connection } = await create({ ...basic("kept-password"), name: "old", tags: ["a"] });
    const path = `/api/connections/${connection.id}`;
    const { body } = await service.org.rest("PATCH", path, {
      name: null,
      tags: ["b", "c"],
      metadata: { k: "v" },
    });
    expect(body.data.connection).toMatchObject({
      tags: ["b", "c"],
      metadata: { k: "v" },
      params: connection.params,
    });
    expect(body.data.connection.name).toBeUndefined();
    expect((await sentThrough(connection.id as string)).headers.authorization).toBe(
      `Basic ${Buffer.from("reader:kept-password").toString("base64")}`,
    );
    const cleared = await service.org.rest("PATCH", path, { tags: [] });
    expect(cleared.body.data.connection.tags).toStrictEqual([]);
  });

  test("of its params keeps the secret, and of its credentials keeps the params", async () => {
    const { connection } = await create(basic("first-password"));
    const id = connection.id as string;
    const change = (changes: object) => service.org.rest("PATCH", `/api/connections/${id}`, changes);
    const sent = async () => {
      const [, token = ""] = (await sentThrough(id)).headers.authorization!.split(" ");
      return Buffer.from(token, "base64").toString();
    };
    await change({ params: { username: "writer" } });
    expect(await sent()).toBe("writer:first-password");
    const { body } = await change({ credentials: { password: "second-password" } });
    expect(body.data.connection.credentialHash).toMatch(/^hmac-sha256:/);
    expect(await sent()).toBe("writer:second-password");
    const { events } = await service.org.client.audit.listAuditEvents({ target: id });
    const hashes = events.map(({ details }) => (details as { credentialHash: object }).credentialHash);
    expect(hashes[0]).toStrictEqual({
      before: connection.credentialHash as string,
      after: body.data.connection.credentialHash as string,
    });
  });

  test("to another place needs its credentials, whatever its method is", async () => {
    const { connection } = await create(basic("bound-password"));
    const path = `/api/connections/${connection.id}`;
    const moved = { baseUrl: upstream.url.replace("127.0.0.1", "localhost") };
    const refused = await service.org.rest("PATCH", path, moved);
    expect([refused.status, refused.headers.get("x-error-reason"), refused.body.error]).toStrictEqual([
      400,
      "CREDENTIAL_REQUIRED",
      expect.stringMatching(/^credentials: the base URL's origin changes/),
    ]);
    expect((await service.org.rest("PATCH", path, { baseUrl: `${upstream.url}/v1` })).status).toBe(200);
  });

  test("refuses a fallback without a credential that takes over, and an API key beside credentials", async () => {
    const { connection } = await create(basic("some-password"));
    const change = async (changes: object) => {
      const { body } = await service.org.rest("PATCH", `/api/connections/${connection.id}`, changes);
      return body.error as string;
    };
    expect(await change({ name: "x", fallbackSeconds: 60 })).toMatch(/^fallbackSeconds: give it with/);
    expect(await change({ apiKey: "k", credentials: { password: "p" } })).toMatch(/^apiKey: it excludes/);
    expect(await change({ credentials: {} })).toMatch(/^username|^password|^credentials/);
  });
});

describe("a slug that is registered with auth", () => {
  const upsert = (more: object) =>
    service.org.rest("POST", "/api/service-connections", {
      serviceSlug: "custom:with-auth",
      baseUrl: upstream.url,
      ...more,
    });

  test("signs in by that method, and by an API key again when it is given one", async () => {
    const auth = { authMethod: "basic", credentials: { username: "u", password: "slug-password" } };
    const first = await upsert({ auth });
    expect(first.body.data).toStrictEqual({
      created: true,
      connection: {
        id: expect.any(String) as string,
        serviceSlug: "custom:with-auth",
        baseUrl: upstream.url,
        active: true,
        createdAt: expect.any(String) as string,
        credentialHash: expect.stringMatching(/^hmac-sha256:/) as string,
      },
    });
    expect((await sentThrough("custom:with-auth")).headers.authorization).toMatch(/^Basic /);
    const second = await upsert({ apiKey: "slug-api-key" });
    expect(second.body.data.connection).toMatchObject({
      id: first.body.data.connection.id as string,
      apiKeyHash: expect.stringMatching(/^sha256:/) as string,
    });
    expect((await sentThrough("custom:with-auth")).headers.authorization).toBe("Bearer slug-api-key");
    const { body } = await service.org.rest("GET", `/api/connections/${first.body.data.connection.id}`);
    expect(body.data.connection).toMatchObject({ authMethod: "bearer", params: {} });
  });

  test.each([
    ["an apiKey beside it", { apiKey: "k", auth: { authMethod: "basic" } }, /auth: it excludes apiKey/],
    ["scopes beside it", { scopes: ["aml:view"], auth: { authMethod: "basic" } }, /auth: it excludes scopes/],
    ["a method that the slug has not", { auth: { authMethod: "ntlm" } }, /authMethod: /],
    ["missing credentials", { auth: { authMethod: "api-key" } }, /apiKey: /],
  ])("is refused with %s", async (_, more, text) => {
    const { status, body } = await upsert(more);
    expect([status, body.error]).toStrictEqual([400, expect.stringMatching(text)]);
  });
});

test("two organisations with the same password do not have the same hash of it", async () => {
  const other = await service.newOrganization("same-password");
  const hashOf = async (by: Presenter) =>
    (await create(basic("the-same-password"), by)).connection.credentialHash;
  const [mine, again, theirs] = [await hashOf(service.org), await hashOf(service.org), await hashOf(other)];
  expect(again).toBe(mine);
  expect(theirs).not.toBe(mine);
});

describe("a connection by OAuth", () => {
  const url = "https://login.example";
  const oauth = {
    ...{ id: "oauth", type: "oauth2", label: "OAuth 2.0", fields: [] },
    inject: { headers: { Authorization: "Bearer {accessToken}" } },
    oauth2: {
      ...{ grant: "authorization_code", authorizationUrl: `${url}/authorize`, tokenUrl: `${url}/token` },
      ...{ pkce: "required", clientAuthentication: "post", scopeSeparator: " ", defaultScopes: [] },
      ...{ refresh: "rotating", responseQuirks: [] },
    },
  } as const satisfies AuthMethod;
  const wanted = () => ({ integration: "custom:by-oauth", authMethod: "oauth", baseUrl: upstream.url });
  beforeAll(() => define(service, "custom:by-oauth", { authMethods: [oauth] }));

  test("waits for a person to sign in, without a credential, and is not called through until then", async () => {
    const { status, connection } = await create(wanted());
    expect([status, connection]).toStrictEqual([
      201,
      expect.objectContaining({ status: "PENDING_AUTHORIZATION", statusReason: "nobody has signed in yet" }),
    ]);
    expect(connection.credentialHash).toBeUndefined();
    const calling = service.org.client.connections.callService({
      ...{ service: connection.id as string, method: "GET", path: "/" },
    });
    expect(await calling.catch(reasonOf)).toBe("CONNECTION_INACTIVE");
    const { body } = await service.org.rest("POST", `/api/connections/${connection.id}/test`);
    expect(body).toMatchObject({ ok: true });
    expect(upstream.asked.at(-1)!.headers.authorization).toBeUndefined();
    expect((await service.org.rest("DELETE", `/api/connections/${connection.id}`)).status).toBe(200);
  });

  test.each<[what: string, more: object, text: RegExp]>([
    ["credentials", { credentials: { accessToken: "x" } }, /accessToken: is not asked for/],
    ["to be verified before anybody signed in", { verify: true }, /^verify: nobody has signed in yet/],
  ])("is not given %s", async (_, more, text) => {
    const { status, body } = await create({ ...wanted(), ...more });
    expect([status, body.error]).toStrictEqual([400, expect.stringMatching(text)]);
  });

  test("takes no credentials later, and has none that could be compared", async () => {
    const { connection } = await create(wanted());
    const path = `/api/connections/${connection.id}`;
    const given = await service.org.rest("PATCH", path, { credentials: { accessToken: "x" } });
    expect([given.status, given.body.error]).toStrictEqual([
      400,
      expect.stringMatching(/^credentials: oauth takes/),
    ]);
    const checked = await service.org.rest("POST", `${path}/check-credential`, { apiKey: "x" });
    expect([checked.status, checked.body.error]).toStrictEqual([
      400,
      expect.stringMatching(/^credentials: oauth has/),
    ]);
    const named = await service.org.rest("PATCH", path, { name: "Mine" });
    expect(named.body.data.connection).toMatchObject({ name: "Mine", status: "PENDING_AUTHORIZATION" });
  });
});

test("a connection that waits for a person to sign in is not called through", async () => {
  const { connection } = await create(basic("pending-password"));
  const id = connection.id as string;
  // As one by OAuth is made: without a credential.
  await service.postgres.asOwner("delete from credentials where connection_id = $1", [id]);
  await service.postgres.asOwner("update connections set status = 'PENDING_AUTHORIZATION' where id = $1", [
    id,
  ]);
  const calling = service.org.client.connections.callService({ service: id, method: "GET", path: "/" });
  expect(await calling.catch(reasonOf)).toBe("CONNECTION_INACTIVE");
  const checking = await service.org.rest("POST", `/api/connections/${id}/check-credential`, { apiKey: "k" });
  expect(checking.status).toBe(400);
  const { body } = await service.org.rest("GET", `/api/connections/${id}`);
  expect(body.data.connection).toMatchObject({ status: "PENDING_AUTHORIZATION" });
  const given = await service.org.rest("PATCH", `/api/connections/${id}`, {
    credentials: { username: "u", password: "now-there" },
  });
  expect(given.body.data.connection).toMatchObject({ status: "ACTIVE" });
  expect((await sentThrough(id)).headers.authorization).toMatch(/^Basic /);
  expect((await service.org.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
});
