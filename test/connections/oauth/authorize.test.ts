import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import { openBrowser, type Browser } from "../../support/browser.ts";
import { insertOAuthConnection, oauth2 } from "../../support/oauth-grants.ts";
import { untilOneWaits } from "../../support/locks.ts";
import { startOidcProvider, type OidcProvider } from "../../support/oidc-provider.ts";
import { startService, type TestService } from "../../support/service.ts";
import { startUpstream, type Upstream } from "../../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
let oidc: OidcProvider;
beforeAll(async () => {
  service = await startService({ oauthReturnOrigins: ["https://app.example"] });
  upstream = await startUpstream();
  oidc = await startOidcProvider([`${service.url}/oauth/callback`]);
});
afterAll(async () => {
  await oidc[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const discovered = (more = {}) =>
  oauth2({
    issuer: oidc.issuer,
    discover: true,
    defaultScopes: ["offline_access", "read"],
    extraAuthorizationParameters: { prompt: "consent" },
    ...more,
  });

/** A connection that waits for a person. */
const pending = (more = {}, org = service.org) =>
  insertOAuthConnection(service.postgres, org.orgId, { method: discovered(more), baseUrl: upstream.url });

const start = (id: string, body: object = {}, org = service.org) =>
  org.rest("POST", `/api/connections/${id}/authorize`, body);

/** The token of the link that the caller got. */
async function linkToken(id: string, body: object = {}, org = service.org): Promise<string> {
  const { status, body: answer } = await start(id, body, org);
  expect(status).toBe(201);
  const [page, token] = String(answer.data.url).split("#");
  expect(page).toBe(`${service.url}/connect`);
  return token!;
}

const form = (fields: Record<string, string>, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  body: new URLSearchParams(fields),
  headers,
});

/** A person opens the link, signs in and agrees; where the service sends the browser back to. */
async function signIn(browser: Browser, token: string): Promise<string> {
  return browser.follow(`${service.url}/connect`, `${service.url}/oauth/callback`, form({ token }));
}

async function connect(id: string, body: object = {}, org = service.org): Promise<Response> {
  const browser = openBrowser();
  return browser.visit(await signIn(browser, await linkToken(id, body, org)));
}

async function row(id: string) {
  const [found] = await service.postgres.asOwner(
    `select c.status, c.status_reason as reason, g.requested_scopes as requested, g.granted_scopes as granted
     from connections c left join oauth_grants g on g.connection_id = c.id where c.id = $1`,
    [id],
  );
  return found!;
}

async function recorded(id: string) {
  const rows = await service.postgres.asOwner(
    "select action, api_key_id, details from audit_events where target = $1 order by seq",
    [id],
  );
  return rows.map(({ action, api_key_id, details }) => {
    const { outcome } = JSON.parse(String(details)) as { outcome?: string };
    return [action, outcome, api_key_id];
  });
}

const callThrough = (id: string, org = service.org) =>
  org.rest("POST", "/api/service-calls", { service: id, method: "GET", path: "/me" });

describe("a person connects a service", () => {
  test("with a link, and calls carry the token, which neither the person nor the caller sees", async () => {
    const id = await pending();
    const refused = await callThrough(id);
    expect(refused).toMatchObject({
      status: 409,
      body: { error: expect.stringContaining(`${id}/authorize`) },
    });
    expect(refused.headers.get("x-error-reason")).toBe("AUTHORIZATION_NEEDED");

    const answer = await connect(id);
    const page = await answer.text();
    expect(answer.status).toBe(200);
    expect(page).toContain("Connected");
    expect(await row(id)).toMatchObject({ status: "ACTIVE", reason: null });
    expect(await recorded(id)).toEqual([
      ["connection.authorize", "STARTED", service.org.apiKeyId],
      ["connection.authorize", "AUTHORIZED", service.org.apiKeyId],
    ]);

    expect(await callThrough(id)).toMatchObject({ status: 200 });
    const sent = upstream.asked.at(-1)!.headers.authorization!;
    expect(sent).toMatch(/^Bearer .{20,}/);
    const token = sent.slice("Bearer ".length);
    const audit = JSON.stringify(await service.postgres.asOwner("select details from audit_events"));
    expect(page + service.logged() + audit).not.toContain(token);
  });

  test("and the token is renewed before it ends, by rotation", async () => {
    const id = await pending();
    await connect(id);
    await callThrough(id);
    const first = upstream.asked.at(-1)!.headers.authorization;
    service.clock.advance(56 * 60_000);
    expect(await callThrough(id)).toMatchObject({ status: 200 });
    expect(upstream.asked.at(-1)!.headers.authorization).not.toBe(first);
    expect(await recorded(id)).toContainEqual(["connection.refresh", "REFRESHED", null]);
  });

  test("and can do it again, with other scopes, which are then asked for by themselves", async () => {
    const id = await pending();
    await connect(id);
    await connect(id, { scopes: ["offline_access", "write"] });
    expect(await row(id)).toMatchObject({ status: "ACTIVE", requested: ["offline_access", "write"] });
    const { body } = await start(id);
    expect(body.data.url).toContain("#");
    const started = await service.postgres.asOwner(
      "select scopes from oauth_flows where connection_id = $1",
      [id],
    );
    expect(started).toEqual([{ scopes: ["offline_access", "write"] }]);
  });

  test("and is sent to where the caller wants, if the deployment permits that", async () => {
    const id = await pending();
    const answer = await connect(id, { returnTo: "https://app.example/done?a=b" });
    expect(answer.status).toBe(303);
    expect(answer.headers.get("location")).toBe(
      `https://app.example/done?a=b&connection_id=${id}&status=connected`,
    );
  });

  test.each([
    "https://app.example.evil.example/",
    "https://evil.example/https://app.example",
    "https://app.example@evil.example/",
    "https://user@app.example/",
    "https://app.example:444/",
    "http://app.example/",
    "javascript:alert(1)",
    "//app.example/",
    "/done",
  ])("and nowhere else: %s", async (returnTo) => {
    const { status, body } = await start(await pending(), { returnTo });
    expect(status).toBe(400);
    expect(body.error).toMatch(/^returnTo: give a URL of an origin in PATCHBAY_OAUTH_RETURN_ORIGINS/);
  });

  test("and what was not granted is said to the person, and recorded", async () => {
    const id = await pending();
    const answer = await connect(id, { scopes: ["offline_access", "read", "unheard-of"] });
    expect(await answer.text()).toContain("unheard-of is missing");
    expect(await row(id)).toMatchObject({ requested: ["offline_access", "read", "unheard-of"] });
    expect((await row(id))["granted"]).not.toContain("unheard-of");
  });
});

describe("a link", () => {
  test("is shown with what it connects, to whom, and for what, and looking does not use it up", async () => {
    const id = await pending();
    const token = await linkToken(id);
    const look = async () =>
      (await fetch(`${service.url}/connect`, form({ token, look: "1" }))).json() as Promise<object>;
    expect(await look()).toEqual({
      organization: "acme",
      service: expect.stringContaining("custom:"),
      host: new URL(oidc.issuer).host,
      scopes: "offline_access, read",
    });
    expect(await look()).toMatchObject({ organization: "acme" });
    await signIn(openBrowser(), token);
  });

  test("is opened once", async () => {
    const token = await linkToken(await pending());
    await signIn(openBrowser(), token);
    const again = await fetch(`${service.url}/connect`, form({ token }));
    expect(again.status).toBe(410);
    expect(await again.text()).toContain("Ask whoever sent it to you for a new one");
  });

  test("is opened once, even by twenty at the same time", async () => {
    const token = await linkToken(await pending());
    const opened = await Promise.all(
      Array.from({ length: 20 }, () => openBrowser().visit(`${service.url}/connect`, form({ token }))),
    );
    expect(opened.map(({ status }) => status).filter((status) => status === 303)).toHaveLength(1);
  });

  test("is good for ten minutes, or as long as was asked", async () => {
    const id = await pending();
    const [short, long] = [await linkToken(id), await linkToken(id, { linkSeconds: 86_400 })];
    service.clock.advance(601_000);
    expect((await fetch(`${service.url}/connect`, form({ token: short }))).status).toBe(410);
    expect((await openBrowser().visit(`${service.url}/connect`, form({ token: long }))).status).toBe(303);
  });

  test.each([59, 86_401, -1])("is not good for %s seconds", async (linkSeconds) => {
    expect((await start(await pending(), { linkSeconds })).status).toBe(400);
  });

  test("is not opened by a page of another origin, past the question", async () => {
    const token = await linkToken(await pending());
    const sent = (headers: Record<string, string>) =>
      fetch(`${service.url}/connect`, form({ token }, headers));
    for (const headers of [
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: "null", "sec-fetch-site": "cross-site" },
      { origin: service.url, "sec-fetch-site": "same-site" },
    ]) {
      const answer = await sent(headers);
      expect(answer.status).toBe(403);
      expect(await answer.text()).toContain("PATCHBAY_PUBLIC_URL");
    }
    const ours = { origin: "null", "sec-fetch-site": "same-origin" };
    expect((await openBrowser().visit(`${service.url}/connect`, form({ token }, ours))).status).toBe(303);
  });

  test("has a page that shows nothing to others: no referrer, no frame, no cache, no script but its own", async () => {
    const answer = await fetch(`${service.url}/connect`);
    const page = await answer.text();
    expect(answer.status).toBe(200);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    });
    const policy = answer.headers.get("content-security-policy")!;
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-.*'; script-src 'sha256-.*'; connect-src 'self';/,
    );
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    const [, script = ""] = /<script>(.*)<\/script>/s.exec(page) ?? [];
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(script))).toString("base64");
    expect(policy).toContain(`'sha256-${digest}'`);
  });

  test("leaves the token in no log, and no row", async () => {
    const token = await linkToken(await pending());
    const back = new URL(await signIn(openBrowser(), token));
    await fetch(back);
    const rows = JSON.stringify(await service.postgres.asOwner("select oauth_flows::text from oauth_flows"));
    for (const secret of [token, back.searchParams.get("state")!, back.searchParams.get("code")!]) {
      expect(secret.length).toBeGreaterThan(20);
      expect(service.logged() + rows).not.toContain(secret);
    }
  });

  test.each([
    ["its key is revoked", "update api_keys set revoked_at = now() where id = $1"],
    ["its key is over", "update api_keys set expires_at = '2020-01-01' where id = $1"],
    [
      "the user who answers for it is deactivated",
      "update users set status = 'deactivated' where id = (select act_as_user_id from api_keys where id = $1)",
    ],
  ])("leads nowhere once %s, nor does what it began", async (_, end) => {
    const { user } = await service.org.client.directory.upsertUser({ email: "ada@acme.example" });
    const scopes = ["connections:write", "connections:view"];
    const bound = { name: "bound", scopes, actAsUserId: user!.id };
    const { apiKey, secret } = await service.org.client.apiKeys.createApiKey(bound);
    const org = { ...service.org, ...service.as(secret) };
    const id = await pending();
    const [unopened, opened] = [await linkToken(id, {}, org), await linkToken(id, {}, org)];
    const browser = openBrowser();
    const back = await signIn(browser, opened);
    await service.postgres.asOwner(end, [apiKey!.id]);
    for (const more of [{}, { look: "1" }]) {
      const answer = await fetch(`${service.url}/connect`, form({ token: unopened, ...more }));
      expect(answer.status).toBe(410);
    }
    const answer = await browser.visit(back);
    const page = await answer.text();
    expect([answer.status, page]).toEqual([410, expect.stringContaining("may no longer do that")]);
    expect(await row(id)).toMatchObject({ status: "PENDING_AUTHORIZATION" });
  });

  test("that is opened while its connection is deleted leads nowhere", async () => {
    const id = await pending();
    const token = await linkToken(id);
    await using deleting = openConnection(service.postgres.url, {});
    await deleting.run("begin");
    await deleting.run("delete from connections where id = $1", [id]);
    const opening = fetch(`${service.url}/connect`, form({ token }));
    await untilOneWaits(service.postgres);
    await deleting.run("commit");
    expect((await opening).status).toBe(410);
  });

  test("is not given for a connection that is deleted meanwhile", async () => {
    const id = await pending();
    await using deleting = openConnection(service.postgres.url, {});
    await deleting.run("begin");
    await deleting.run("delete from connections where id = $1", [id]);
    const starting = start(id);
    await untilOneWaits(service.postgres);
    await deleting.run("commit");
    expect((await starting).status).toBe(404);
  });

  test("is for connections with OAuth of one's own organisation", async () => {
    const other = await service.newOrganization("globex");
    expect(await start(await pending(), {}, other)).toMatchObject({ status: 404 });
    const plain = { serviceSlug: "custom:plain", baseUrl: upstream.url, apiKey: "k" };
    const { connection } = await service.org.client.connections.upsertServiceConnection(plain);
    expect(await start(connection!.id)).toMatchObject({
      status: 409,
      body: { error: expect.stringContaining("not with OAuth 2.0") },
    });
  });

  test("is not given to a caller without an OAuth client", async () => {
    const id = await pending();
    await service.postgres.asOwner("update connections set integration = 'custom:unknown' where id = $1", [
      id,
    ]);
    const { status, headers, body } = await start(id);
    expect({ status, reason: headers.get("x-error-reason") }).toEqual({
      status: 409,
      reason: "AUTHORIZATION_FAILED",
    });
    expect(body.error).toContain("custom:unknown");
  });
});

describe("an answer of the service is refused", () => {
  /** A browser on its way back. */
  async function onTheWay() {
    const id = await pending();
    const browser = openBrowser();
    const back = await signIn(browser, await linkToken(id));
    return { id, browser, back };
  }

  /** The same address with other parameters. */
  function changed(url: string, change: (query: URLSearchParams) => void): string {
    const next = new URL(url);
    change(next.searchParams);
    return next.href;
  }

  async function refused(answer: Promise<Response>, status: number, text: RegExp | string) {
    const { status: got, headers } = await answer;
    const page = await (await answer).text();
    expect(page).toMatch(text);
    expect({ got, type: headers.get("content-type") }).toEqual({
      got: status,
      type: "text/html; charset=utf-8",
    });
    return page;
  }

  test("that comes a second time", async () => {
    const { browser, back } = await onTheWay();
    expect((await browser.visit(back)).status).toBe(200);
    await refused(browser.visit(back), 400, "Nothing waits for this answer");
  });

  test("that comes in another browser, and then in the right one as well: login CSRF", async () => {
    const { id, browser, back } = await onTheWay();
    const other = openBrowser();
    await signIn(other, await linkToken(await pending()));
    await refused(other.visit(back), 403, "This browser did not begin it");
    await refused(browser.visit(back), 400, "Nothing waits for this answer");
    expect(await row(id)).toMatchObject({
      status: "PENDING_AUTHORIZATION",
      reason: expect.stringMatching(/^This browser/),
    });
    expect(await recorded(id)).toContainEqual(["connection.authorize", "FAILED", service.org.apiKeyId]);
  });

  test("that comes without any cookie", async () => {
    const { back } = await onTheWay();
    await refused(fetch(back), 403, "does not keep cookies");
  });

  test("whose state is of another organisation's authorization", async () => {
    const { browser, back } = await onTheWay();
    const other = await service.newOrganization("initech");
    const theirs = await pending({}, other);
    const state = new URL(await signIn(openBrowser(), await linkToken(theirs, {}, other))).searchParams.get(
      "state",
    )!;
    await refused(browser.visit(changed(back, (query) => query.set("state", state))), 403, "This browser");
    expect(await row(theirs)).toMatchObject({ status: "PENDING_AUTHORIZATION" });
  });

  test("that comes later than ten minutes", async () => {
    const { browser, back } = await onTheWay();
    service.clock.advance(600_001);
    await refused(browser.visit(back), 400, "longer than ten minutes");
  });

  test("that says it is of another service, or of none, or of two", async () => {
    for (const change of [
      (query: URLSearchParams) => query.set("iss", "https://evil.example"),
      (query: URLSearchParams) => query.delete("iss"),
      (query: URLSearchParams) => query.append("iss", oidc.issuer),
    ]) {
      const { id, browser, back } = await onTheWay();
      await refused(browser.visit(changed(back, change)), 400, /The answer/);
      expect(await row(id)).toMatchObject({ status: "PENDING_AUTHORIZATION" });
    }
  });

  test("with a code that is not of this authorization: its proof does not fit", async () => {
    const { browser, back } = await onTheWay();
    const code = new URL((await onTheWay()).back).searchParams.get("code")!;
    await refused(browser.visit(changed(back, (query) => query.set("code", code))), 409, "invalid_grant");
  });

  test("with a state that nobody made, and without one", async () => {
    await refused(fetch(`${service.url}/oauth/callback?state=x&code=y`), 400, "Nothing waits");
    await refused(fetch(`${service.url}/oauth/callback`), 400, "Nothing waits");
    const { browser, back } = await onTheWay();
    await refused(browser.visit(`${back}&state=x`), 400, "Nothing waits");
  });

  test("that is an error, which the person reads, and which cannot write the page", async () => {
    const { id, browser, back } = await onTheWay();
    const failed = changed(back, (query) => {
      query.delete("code");
      query.set("error", "<script>alert(1)</script>");
      query.set("error_description", `"'><img src=x onerror=alert(1)>`);
    });
    const page = await refused(browser.visit(failed), 409, "The service refused");
    expect(page).not.toMatch(/<script>alert|<img/);
    expect(await row(id)).toMatchObject({
      status: "PENDING_AUTHORIZATION",
      reason: expect.stringMatching(/^The service refused/),
    });
    await refused(browser.visit(back), 400, "Nothing waits");
  });

  test("and is told to the caller's page, where there is one", async () => {
    const id = await pending();
    const browser = openBrowser();
    const back = await signIn(browser, await linkToken(id, { returnTo: "https://app.example/" }));
    const denied = changed(back, (query) => {
      query.delete("code");
      query.set("error", "access_denied");
    });
    const answer = await browser.visit(denied);
    expect(answer.headers.get("location")).toBe(`https://app.example/?connection_id=${id}&status=failed`);
    expect(await row(id)).toMatchObject({ reason: expect.stringMatching(/access was denied/) });
  });

  test("and a connection that works goes on working", async () => {
    const id = await pending();
    await connect(id);
    const browser = openBrowser();
    const back = await signIn(browser, await linkToken(id));
    await browser.visit(changed(back, (query) => query.set("iss", "https://evil.example")));
    expect(await row(id)).toMatchObject({ status: "ACTIVE", reason: null });
    expect(await callThrough(id)).toMatchObject({ status: 200 });
  });
});

describe("a connection with OAuth that is deleted", () => {
  test("has its tokens revoked at the service", async () => {
    const id = await pending();
    await connect(id);
    const { status, body } = await service.org.rest("DELETE", `/api/connections/${id}`);
    expect({ status, body }).toMatchObject({ status: 200, body: { data: { revocation: "REVOKED" } } });
    expect(oidc.asked.at(-1)).toBe("POST /token/revocation");
    const [event] = await service.postgres.asOwner(
      "select details from audit_events where target = $1 and action = 'connection.revoke'",
      [id],
    );
    expect(JSON.parse(String(event!["details"]))).toEqual({ outcome: "REVOKED" });
  });

  test("is gone though the service cannot be asked", async () => {
    const id = await pending({ revocationUrl: "http://127.0.0.1:9/revoke" });
    await connect(id);
    const { body } = await service.org.rest("DELETE", `/api/connections/${id}`);
    expect(body).toMatchObject({ data: { revocation: "FAILED" } });
    expect(await service.org.rest("GET", `/api/connections/${id}`)).toMatchObject({ status: 404 });
  });

  test("and was never authorized has nothing to revoke", async () => {
    const { status, body } = await service.org.rest("DELETE", `/api/connections/${await pending()}`);
    expect({ status, body }).toEqual({ status: 200, body: { data: {} } });
  });
});

test("a change is verified with an access token that is good, though the stored one has ended", async () => {
  const id = await pending();
  await connect(id);
  const verify = () => service.org.rest("PATCH", `/api/connections/${id}`, { active: true, verify: true });
  const sent = () => upstream.asked.at(-1)!.headers.authorization;
  expect((await verify()).status).toBe(200);
  const ended = sent();
  const ending = "update credentials set expires_at = $1, refresh_at = $1 where connection_id = $2";
  await service.postgres.asOwner(ending, [new Date(service.clock.now().getTime() - 1).toISOString(), id]);
  expect((await verify()).status).toBe(200);
  expect(sent()).toMatch(/^Bearer ./);
  expect(sent()).not.toBe(ended);
});

describe("a connection with OAuth that gets an API key instead", () => {
  const apiKey = "takes-over";
  const ways: [string, (id: string) => Promise<{ status: number }>][] = [
    ["changed by its id", (id) => service.org.rest("PATCH", `/api/connections/${id}`, { apiKey })],
    [
      "registered again by its slug",
      async (id) => {
        const serviceSlug = "custom:was-oauth";
        const named = "update connections set slug = $1 where id = $2";
        await service.postgres.asOwner(named, [serviceSlug, id]);
        const wanted = { serviceSlug, baseUrl: upstream.url, apiKey };
        return service.org.rest("POST", "/api/service-connections", wanted);
      },
    ],
  ];

  test.each(ways)("%s, has its tokens revoked at the service", async (_, replace) => {
    const id = await pending();
    await connect(id);
    expect((await replace(id)).status).toBeLessThan(300);
    expect(oidc.asked.at(-1)).toBe("POST /token/revocation");
    const { events } = await service.org.client.audit.listAuditEvents({ target: id });
    expect(events[0]).toMatchObject({ action: "connection.revoke", details: { outcome: "REVOKED" } });
    expect(await callThrough(id)).toMatchObject({ status: 200 });
    expect(upstream.asked.at(-1)!.headers.authorization).toBe(`Bearer ${apiKey}`);
  });
});

describe("device codes", () => {
  const device = () => pending({ grant: "device_code", extraAuthorizationParameters: {} });

  test("are answered for the person, and the connection is active once the code was typed in", async () => {
    const id = await device();
    const { status, body } = await start(id);
    expect(status).toBe(201);
    const { url, userCode } = body.data;
    expect(url).toContain(`${oidc.issuer}/device`);
    expect(userCode).toMatch(/^[A-Z]{4}-[A-Z]{4}$/);

    service.clock.advance(6_000);
    await service.app.loops.oauth.runOnce();
    expect(await row(id)).toMatchObject({ status: "PENDING_AUTHORIZATION" });

    await oidc.enterUserCode(userCode);
    service.clock.advance(6_000);
    await service.app.loops.oauth.runOnce();
    expect(await row(id)).toMatchObject({ status: "ACTIVE" });
    expect(await callThrough(id)).toMatchObject({ status: 200 });
  });

  test("that nobody types in end, and say so", async () => {
    const id = await device();
    await start(id);
    service.clock.advance(86_400_000);
    await service.app.loops.oauth.runOnce();
    expect(await row(id)).toMatchObject({
      status: "PENDING_AUTHORIZATION",
      reason: "nobody typed in the code in time",
    });
    expect(await service.postgres.asOwner("select from oauth_flows where connection_id = $1", [id])).toEqual(
      [],
    );
  });
});
