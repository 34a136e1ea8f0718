import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBrowser } from "../../support/browser.ts";
import { insertOAuthConnection, oauth2, oauthRecipe } from "../../support/oauth-grants.ts";
import { startService, type TestService } from "../../support/service.ts";
import {
  answerJson,
  startStrangeAuthorizationServer,
  type StrangeAuthorizationServer,
} from "../../support/strange-authorization-server.ts";
import { startUpstream, type Upstream } from "../../support/upstream.ts";

const clientSecret = "a-client-secret-that-nobody-sees";

let service: TestService;
let server: StrangeAuthorizationServer;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  server = await startStrangeAuthorizationServer();
  upstream = await startUpstream();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/**
 * An integration of the organisation's own, its client, and a connection: as people make them. Where the integration
 * is nowhere by itself, the connection says where.
 */
async function created(slug: string, oauth: object, baseUrl?: string): Promise<string> {
  const { rest } = service.org;
  const method = { id: "oauth2", type: "oauth2", label: "OAuth", oauth2: oauth };
  const itself = baseUrl === undefined ? { baseUrl: upstream.url } : {};
  const integration = { name: "Ours", ...itself, authMethods: [method] };
  expect(await rest("PUT", `/api/integrations/${slug}`, integration)).toMatchObject({
    status: 200,
    body: { data: {} },
  });
  const client = { clientId: "patchbay", clientSecret };
  const at = `/api/integrations/${slug}/auth-methods/oauth2/client`;
  expect(await rest("PUT", at, client)).toMatchObject({ status: 200 });
  const made = await rest("POST", "/api/connections", {
    ...{ integration: slug, authMethod: "oauth2" },
    ...(baseUrl !== undefined && { baseUrl }),
  });
  expect(made).toMatchObject({ status: 201 });
  return made.body.data.connection.id as string;
}

const code = (more: object = {}) => ({
  grant: "authorization_code",
  authorizationUrl: `${server.url}/authorize`,
  tokenUrl: server.tokenUrl,
  pkce: "required",
  clientAuthentication: "post",
  scopeSeparator: " ",
  refresh: "rotating",
  ...more,
});

/**
 * A person opens the link, and the service sends them back, after what happens `meanwhile`. What the service was asked,
 * and what the person sees.
 */
async function connect(id: string, scopes: readonly string[] = [], meanwhile?: () => Promise<unknown>) {
  const started = await service.org.rest("POST", `/api/connections/${id}/authorize`, { scopes });
  const token = String(started.body.data.url).split("#")[1]!;
  const browser = openBrowser();
  const sent = await browser.visit(`${service.url}/connect`, {
    method: "POST",
    body: new URLSearchParams({ token }),
  });
  const asked = new URL(sent.headers.get("location")!);
  const state = asked.searchParams.get("state")!;
  await meanwhile?.();
  const back = await browser.visit(`${service.url}/oauth/callback?code=the-code&state=${state}`);
  return { asked, status: back.status, page: await back.text() };
}

const callThrough = (id: string) =>
  service.org.rest("POST", "/api/service-calls", { service: id, method: "GET", path: "/me" });
const sent = () => upstream.asked.at(-1)?.headers.authorization;
const status = async (id: string) =>
  (await service.org.rest("GET", `/api/connections/${id}`)).body.data.connection;

describe("a connection of an integration of the organisation's own", () => {
  test("is created, connected, called, renewed and deleted, and its secrets are nowhere to be seen", async () => {
    const id = await created("custom:whole", code({ revocationUrl: `${server.url}/revoke` }));
    server.behave(({ form }) => ({
      access_token: `access-token-after-${form.get("grant_type")}`,
      refresh_token: `refresh-token-after-${form.get("grant_type")}`,
      token_type: "bearer",
      expires_in: 3600,
    }));
    const { asked, status: shown } = await connect(id, ["read", "write"]);
    expect(shown).toBe(200);
    expect(Object.fromEntries(asked.searchParams)).toEqual({
      response_type: "code",
      client_id: "patchbay",
      redirect_uri: `${service.url}/oauth/callback`,
      scope: "read write",
      state: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: "S256",
    });
    expect(Object.fromEntries(server.asked.at(-1)!.form)).toMatchObject({
      grant_type: "authorization_code",
      code: "the-code",
      client_secret: clientSecret,
      redirect_uri: `${service.url}/oauth/callback`,
      code_verifier: expect.stringMatching(/^[\w-]{43,}$/),
    });

    expect(await callThrough(id)).toMatchObject({ status: 200 });
    expect(sent()).toBe("Bearer access-token-after-authorization_code");
    service.clock.advance(3_500_000);
    expect(await callThrough(id)).toMatchObject({ status: 200 });
    expect(sent()).toBe("Bearer access-token-after-refresh_token");
    const deleted = await service.org.rest("DELETE", `/api/connections/${id}`);
    expect(deleted.body).toMatchObject({ data: { revocation: "REVOKED" } });
    expect(server.asked.at(-1)!.form.get("token")).toBe("refresh-token-after-refresh_token");

    const tables = [
      "connections",
      "credentials",
      "oauth_grants",
      "oauth_flows",
      "oauth_clients",
      "audit_events",
    ];
    const rows = await Promise.all(
      tables.map((name) => service.postgres.asOwner(`select ${name}::text from ${name}`)),
    );
    const everything = JSON.stringify(rows) + service.logged();
    expect(everything).not.toMatch(/access-token-after|refresh-token-after|the-code|a-client-secret/);
  });

  test("whose token the service takes no more is called again with a new one, once", async () => {
    const id = await created("custom:taken-back", code());
    let given = 0;
    server.behave(() => {
      given += 1;
      return { access_token: `token-${given}`, refresh_token: `rt-${given}`, token_type: "bearer" };
    });
    await connect(id);
    upstream.answer(({ headers }) => ({ status: headers.authorization === "Bearer token-2" ? 200 : 401 }));
    try {
      expect(await callThrough(id)).toMatchObject({ status: 200, body: { data: { status: 200 } } });
      expect([given, sent()]).toEqual([2, "Bearer token-2"]);
      upstream.answer({ status: 401 });
      expect(await callThrough(id)).toMatchObject({ status: 200, body: { data: { status: 401 } } });
      expect(given).toBe(2);
      expect(await status(id)).toMatchObject({ status: "ACTIVE" });
    } finally {
      upstream.answer({});
    }
  });

  test("of a service that breaks on PKCE and wants commas is asked as it wants", async () => {
    const id = await created(
      "custom:odd",
      code({ pkce: "breaks", scopeSeparator: ",", scopeParameter: "user_scope" }),
    );
    server.behave(() => ({ access_token: "at", token_type: "bearer", scope: "a,b" }));
    const { asked } = await connect(id, ["a", "b"]);
    expect(asked.searchParams.get("user_scope")).toBe("a,b");
    expect(asked.searchParams.has("code_challenge")).toBe(false);
    expect(server.asked.at(-1)!.form.has("code_verifier")).toBe(false);
  });

  test("says to the person that it cannot be renewed, if the service gives no refresh token", async () => {
    const id = await created("custom:ends", code());
    server.behave(() => ({ access_token: "at", token_type: "bearer", expires_in: 3600 }));
    expect((await connect(id)).page).toContain("has to be connected again after");
    service.clock.advance(3_600_001);
    expect(await callThrough(id)).toMatchObject({ status: 409 });
    expect(await status(id)).toMatchObject({ status: "NEEDS_REAUTH" });
  });
});

test("a token without an end and a way to renew it ends when the probe is refused, and not with any other path", async () => {
  const id = await created("custom:endless", code());
  server.behave(() => ({ access_token: "at", token_type: "bearer" }));
  await connect(id);
  await service.postgres.asOwner(
    "update connections set recipe = jsonb_set(recipe::jsonb, '{probe}', $2::jsonb) where id = $1",
    [id, JSON.stringify({ method: "GET", path: "/whoami", expect: { status: 200 } })],
  );
  const probed = () => service.org.rest("POST", `/api/connections/${id}/test`, {});
  let isKnown = true;
  upstream.answer(({ url }) => ({ status: url === "/whoami" && isKnown ? 200 : 401 }));
  try {
    expect(await callThrough(id)).toMatchObject({ body: { data: { status: 401 } } });
    expect((await probed()).body).toMatchObject({ ok: true });
    expect(await status(id)).toMatchObject({ status: "ACTIVE" });
    isKnown = false;
    expect((await probed()).body).toMatchObject({ ok: false });
    expect(await status(id)).toMatchObject({
      status: "NEEDS_REAUTH",
      statusReason: expect.stringContaining("takes its access token no more"),
    });
    const asked = upstream.asked.length;
    expect((await callThrough(id)).headers.get("x-error-reason")).toBe("AUTHORIZATION_NEEDED");
    expect(upstream.asked).toHaveLength(asked);
  } finally {
    upstream.answer({});
  }
});

describe("before a person has signed in, a connection", () => {
  const moved = (id: string) =>
    service.org.rest("PATCH", `/api/connections/${id}`, { baseUrl: "http://127.0.0.1:9" });

  test("cannot be moved away from its integration, whose name the person reads", async () => {
    const id = await created("custom:stays", code());
    const { status: answered, body } = await moved(id);
    expect([answered, body.error]).toEqual([400, expect.stringContaining(`is at ${upstream.url}`)]);
  });

  test("without a place of its integration can be, which ends what was begun for the previous place", async () => {
    const id = await created("custom:moves", code(), upstream.url);
    const before = server.asked.length;
    const { status: shown, page } = await connect(id, [], async () => {
      expect(await moved(id)).toMatchObject({ status: 200 });
    });
    expect([shown, page]).toEqual([400, expect.stringContaining("Nothing waits for this answer")]);
    expect(server.asked).toHaveLength(before);
  });

  test("that moves while the service gives a token does not get that", async () => {
    const id = await created("custom:moves-late", code(), upstream.url);
    server.behave(async () => {
      await moved(id);
      return { access_token: "at", token_type: "bearer" };
    });
    const { status: shown, page } = await connect(id);
    expect([shown, page]).toEqual([409, expect.stringContaining("the connection was changed meanwhile")]);
    expect(await status(id)).toMatchObject({ status: "PENDING_AUTHORIZATION" });
  });
});

describe("a service that revokes in a way of its own", () => {
  const basic = `Basic ${Buffer.from(`patchbay:${encodeURIComponent(clientSecret).replaceAll("-", "%2D")}`).toString("base64")}`;

  /** Connects, and deletes. What the service was asked last, and what the answer says. */
  async function revoked(revocation: object, responseQuirks: string[], answer: [number, object]) {
    const id = await created("custom:revokes", code());
    const way = {
      revocation: { url: `${server.url}/apps/{client_id}/revoke`, ...revocation },
      responseQuirks,
    };
    await service.postgres.asOwner(
      `update connections set recipe = jsonb_set(recipe::jsonb, '{method,oauth2}', recipe::jsonb #> '{method,oauth2}' || $2::jsonb)
       where id = $1`,
      [id, JSON.stringify(way)],
    );
    server.behave(() => ({ access_token: "at-given", refresh_token: "rt-given", token_type: "bearer" }));
    await connect(id);
    server.behave((_, response) => answerJson(response, ...answer));
    const { body } = await service.org.rest("DELETE", `/api/connections/${id}`);
    const { method, path, headers, body: sentBody } = server.asked.at(-1)!;
    expect(path).toBe("/apps/patchbay/revoke");
    return { outcome: body.data.revocation, asked: [method, headers["authorization"], sentBody] };
  }

  test.each([
    [{ style: "get", auth: "bearer" }, ["GET", "Bearer at-given", ""]],
    [{ style: "post", auth: "bearer" }, ["POST", "Bearer at-given", ""]],
    [{ style: "post", auth: "basic" }, ["POST", basic, "token=rt-given"]],
    [{ style: "post-json", auth: "basic" }, ["POST", basic, '{"token":"rt-given"}']],
    [{ style: "delete", auth: "basic" }, ["DELETE", basic, '{"access_token":"at-given"}']],
  ])("%j is asked so", async (revocation, asked) => {
    expect(await revoked(revocation, [], [204, {}])).toEqual({ outcome: "REVOKED", asked });
  });

  test.each<[string, string[], [number, object]]>([
    ["a status of refusal", [], [401, {}]],
    ["an error with status 200", ["error_in_200"], [200, { ok: false, error: "token_expired" }]],
  ])("and that answers %s has not revoked", async (_, quirks, answer) => {
    expect(await revoked({ style: "get", auth: "bearer" }, quirks, answer)).toMatchObject({
      outcome: "FAILED",
    });
  });
});

describe("a token endpoint that gives no token", () => {
  test.each<[string, Parameters<StrangeAuthorizationServer["behave"]>[0], string]>([
    [
      "but HTML",
      (_, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<b>"),
      "text/html",
    ],
    ["but nothing", (_, response) => void response.writeHead(200).end(), "nothing instead of JSON"],
    ["but an error with status 200", () => ({ error: "invalid_grant" }), "not with a token"],
    [
      "but a redirect",
      (_, response) => void response.writeHead(302, { location: "/x" }).end(),
      "not followed",
    ],
    ["but status 500", (_, response) => answerJson(response, 500, {}), "status 500"],
    [
      "but a refusal",
      (_, response) => answerJson(response, 400, { error: "invalid_client" }),
      "invalid_client",
    ],
    ["and hangs up", (_, response) => void response.destroy(), "closed the connection"],
  ])("%s: the person reads why, and the connection waits as before", async (_, behaviour, text) => {
    const id = await created("custom:no-token", code());
    server.behave(behaviour);
    const { status: shown, page } = await connect(id);
    expect(shown).toBe(409);
    expect(page).toContain("Not connected");
    expect(page).toContain(text);
    expect(await status(id)).toMatchObject({ status: "PENDING_AUTHORIZATION" });
  });
});

describe("client credentials", () => {
  test("are turned into a token at the first call, for all that come at once, and renewed by themselves", async () => {
    const id = await created("custom:machine", { ...code(), grant: "client_credentials", refresh: "none" });
    let given = 0;
    server.behave(({ form }) => {
      expect(form.get("grant_type")).toBe("client_credentials");
      given += 1;
      return { access_token: `machine-${given}`, token_type: "bearer", expires_in: 600 };
    });
    const calls = await Promise.all(Array.from({ length: 10 }, () => callThrough(id)));
    expect(calls.map((call) => call.status)).toEqual(Array.from({ length: 10 }, () => 200));
    expect([given, sent()]).toEqual([1, "Bearer machine-1"]);
    service.clock.advance(600_000);
    expect(await callThrough(id)).toMatchObject({ status: 200 });
    expect([given, sent()]).toEqual([2, "Bearer machine-2"]);
    const refused = await service.org.rest("POST", `/api/connections/${id}/authorize`, {});
    expect(refused).toMatchObject({
      status: 409,
      body: { error: expect.stringContaining("no person is needed") },
    });
  });

  test("that are refused are no end of it", async () => {
    const id = await created("custom:machine-refused", {
      ...code(),
      grant: "client_credentials",
      refresh: "none",
    });
    server.behave((_, response) => answerJson(response, 401, { error: "invalid_client" }));
    const refused = await callThrough(id);
    expect(refused).toMatchObject({
      status: 503,
      body: { error: expect.stringContaining("invalid_client") },
    });
    expect(refused.headers.get("retry-after")).toBe("2");
    service.clock.advance(2_000);
    server.behave(() => ({ access_token: "machine", token_type: "bearer" }));
    expect(await callThrough(id)).toMatchObject({ status: 200 });
  });
});

describe("a service that says where the organisation's data is", () => {
  async function connected(named: unknown) {
    const { orgId } = service.org;
    const method = oauth2({ authorizationUrl: `${server.url}/authorize`, tokenUrl: server.tokenUrl });
    const id = await insertOAuthConnection(service.postgres, orgId, { method });
    const { port } = new URL(upstream.url);
    const baseUrlFrom = {
      source: "token_answer",
      field: "api_domain",
      mustMatch: `^http://127\\.0\\.0\\.1:${port}(/eu)?$`,
    };
    await service.postgres.asOwner("update connections set recipe = $2 where id = $1", [
      id,
      JSON.stringify({ ...oauthRecipe(method), baseUrlFrom }),
    ]);
    server.behave(() => ({ access_token: "at", token_type: "bearer", api_domain: named }));
    return { id, ...(await connect(id)) };
  }

  test("is called there", async () => {
    const { id, status: shown } = await connected(`${upstream.url}/eu`);
    expect(shown).toBe(200);
    expect(await callThrough(id)).toMatchObject({ status: 200 });
    expect(upstream.asked.at(-1)).toMatchObject({ url: "/eu/me", headers: { authorization: "Bearer at" } });
  });

  test.each([
    "https://evil.example",
    "http://127.0.0.1:9",
    "http://127.0.0.1:9/#http://127.0.0.1",
    "",
    undefined,
    ["http://127.0.0.1"],
  ])("and nowhere else: %j", async (named) => {
    const { id, status: shown, page } = await connected(named);
    expect(shown).toBe(409);
    expect(page).toContain("named no base URL");
    expect(await status(id)).toMatchObject({ status: "PENDING_AUTHORIZATION" });
  });
});

test("a grant that ends when it is not used is renewed without a call, by one of the replicas", async () => {
  const id = await created("custom:sleepy", code({ keepAliveSeconds: 86_400 }));
  let given = 0;
  server.behave(() => {
    given += 1;
    return { access_token: `kept-${given}`, refresh_token: `rt-${given}`, token_type: "bearer" };
  });
  await connect(id);
  service.clock.advance(86_399_000);
  await service.app.loops.oauth.runOnce();
  expect(given).toBe(1);
  service.clock.advance(1_000);
  await Promise.all([service.app.loops.oauth.runOnce(), service.app.loops.oauth.runOnce()]);
  expect(given).toBe(2);
  service.clock.advance(86_400_000);
  await service.app.loops.oauth.runOnce();
  expect(given).toBe(3);
  await callThrough(id);
  expect(sent()).toBe("Bearer kept-3");
});
