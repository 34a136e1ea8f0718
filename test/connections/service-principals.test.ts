import fc from "fast-check";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { VerifyKeyCode } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { openConnection } from "#src/db/connection.ts";
import { untilOneWaits } from "../support/locks.ts";
import { startService, type Presenter, type Tenant, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
/** An organisation that has connected nothing yet. */
let org: Tenant;

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});
beforeEach(async () => {
  upstream.answer({});
  org = await service.newOrganization("bank");
});

const path = "/api/service-connections";
const sha256 = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

function connect(fields: Record<string, unknown> = {}, by: Presenter = org) {
  return by.rest("POST", path, { serviceSlug: "aml", baseUrl: upstream.url, ...fields });
}

async function connected(fields: Record<string, unknown> = {}, by: Presenter = org) {
  const reply = await connect(fields, by);
  expect(reply.status).toBe(201);
  return reply.body.data.connection as { id: string; apiKeyHash: string };
}

/** What a call through the connection looks like to the service. */
async function seenByService(slug = "aml", headers: Record<string, string> = {}, by: Presenter = org) {
  const reply = await by.rest("POST", "/api/service-calls", {
    service: slug,
    method: "GET",
    path: "/x",
    headers,
  });
  expect(reply.status).toBe(200);
  const { authorization, "x-caller-service": callerService } = upstream.asked.at(-1)!.headers;
  return { secret: authorization?.replace(/^Bearer /, "") ?? "", callerService };
}

interface Key {
  readonly id: string;
  readonly kind: string;
  readonly scopes: string[];
  readonly revokedAt?: string;
}

/** The organisation's principals, oldest first. */
async function principals(by: Presenter = org): Promise<Key[]> {
  const { body } = await by.rest("GET", "/api/api-keys");
  return (body.data.apiKeys as Key[]).filter(({ kind }) => kind === "service_principal");
}

async function livePrincipals(): Promise<string[]> {
  return (await principals()).filter(({ revokedAt }) => revokedAt === undefined).map(({ id }) => id);
}

async function keyWith(scopes: string[], by: Presenter = org): Promise<Presenter> {
  const { body } = await by.rest("POST", "/api/api-keys", { name: "k", scopes });
  return service.as(body.data.secret as string);
}

/** How the sibling would have the key verified, as whoever presented it to the sibling. */
async function verified(secret: string, callerServiceSlug?: string) {
  const asked = { key: `Bearer ${secret}`, ...(callerServiceSlug !== undefined && { callerServiceSlug }) };
  return org.client.verification.verifyKey(asked);
}

describe("connecting a built-in service without a key", () => {
  test("lets calls carry a key of ours and who presents it; the answer has the key's hash only", async () => {
    const reply = await connect();
    expect(reply.status).toBe(201);
    const { secret, callerService } = await seenByService();
    expect(secret).toMatch(/^qe_sk_sandbox_[A-Z2-7]{32}$/);
    expect(callerService).toBe("orchestration");
    expect(reply.body).toStrictEqual({
      data: {
        created: true,
        connection: {
          id: expect.stringMatching(/^scn_/) as string,
          serviceSlug: "aml",
          baseUrl: upstream.url,
          active: true,
          apiKeyHash: sha256(secret),
          createdAt: expect.any(String) as string,
        },
      },
    });
  });

  test("lists the key as a service principal, whose name and scopes cannot be changed, nor its secret rotated", async () => {
    await connected();
    const { secret } = await seenByService();
    const { body } = await org.rest("GET", "/api/api-keys");
    const [key] = (body.data.apiKeys as Key[]).filter(({ kind }) => kind === "service_principal");
    expect(key).toMatchObject({
      name: "aml · orchestration",
      environment: "sandbox",
      scopes: ["sar:write"],
      callerServiceSlug: "orchestration",
    });
    expect(JSON.stringify(body)).not.toContain(secret);
    for (const [method, tail, sent] of [
      ["PATCH", "", { name: "mine" }],
      ["PATCH", "", { scopes: ["write"] }],
      ["POST", "/rotate", {}],
    ] as const) {
      const refused = await org.rest(method, `/api/api-keys/${key!.id}${tail}`, sent);
      expect([refused.status, refused.headers.get("x-error-reason")]).toStrictEqual([
        409,
        "SERVICE_PRINCIPAL",
      ]);
    }
    expect((await seenByService()).secret).toBe(secret);
  });

  test("has the deployment's rate limit until it is given another, which the next one keeps", async () => {
    await connected();
    const current = async () => {
      const { apiKeys } = await org.client.apiKeys.listApiKeys({});
      return apiKeys.find(({ kind, revokedAt }) => kind === "service_principal" && revokedAt === undefined)!;
    };
    const first = await current();
    expect(first.rateLimitPerMinute).toBeUndefined();
    await org.client.apiKeys.updateApiKey({ id: first.id, rateLimitPerMinute: 6_000 });
    await connected();
    const second = await current();
    expect([second.id === first.id, second.rateLimitPerMinute]).toStrictEqual([false, 6_000]);
  });

  test.each([
    ["aml", {}, ["sar:write"]],
    ["identity", {}, ["verifications:view"]],
    ["aml", { scopes: ["case.write", "rule:view"] }, ["case.write", "rule:view"]],
    ["anti-fraud", { scopes: ["evaluate:write"] }, ["evaluate:write"]],
    ["aml", { scopes: [] }, ["sar:write"]],
  ])("%s with %j gives the key the scopes %j", async (serviceSlug, fields, scopes) => {
    await connected({ serviceSlug, ...fields });
    expect((await principals()).map((key) => key.scopes)).toStrictEqual([scopes]);
  });

  test.each([
    [
      "a service without scopes in the catalog",
      { serviceSlug: "anti-fraud" },
      "CREDENTIAL_REQUIRED",
      /anti-fraud; give the scopes .* or an apiKey/,
    ],
    ["a custom service", { serviceSlug: "custom:bank" }, "CREDENTIAL_REQUIRED", /^apiKey: give the key/],
    [
      "a custom service with scopes",
      { serviceSlug: "custom:bank", scopes: ["a:view"] },
      "CREDENTIAL_REQUIRED",
      /^apiKey: give/,
    ],
    [
      "scopes beside a key",
      { apiKey: "k", scopes: ["a:view"] },
      "INVALID_REQUEST",
      /^scopes: they exclude apiKey/,
    ],
    ["a scope outside the grammar", { scopes: ["sar write"] }, "INVALID_REQUEST", /^scopes: "sar write"/],
    ["an empty scope", { scopes: [""] }, "INVALID_REQUEST", /^scopes: "" is not a scope/],
  ])("refuses %s with 400 and leaves nothing", async (_, fields, reason, message) => {
    const reply = await connect(fields);
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([400, reason]);
    expect(reply.body.error).toMatch(message);
    expect(await principals()).toStrictEqual([]);
    expect((await org.rest("GET", path)).body.data.connections).toStrictEqual([]);
  });
});

describe("the principal's secret", () => {
  test("is at Patchbay's own port what an unknown key is, byte for byte, whatever the request claims", async () => {
    await connected({ scopes: ["connections:view", "api:manage"] });
    const { secret } = await seenByService();
    const asked = async (key: string, route: string, method = "GET") => {
      const response = await fetch(service.url + route, {
        method,
        headers: { authorization: `Bearer ${key}`, "x-caller-service": "orchestration" },
      });
      const headers = [...response.headers].filter(([name]) => !["date", "x-request-id"].includes(name));
      return { status: response.status, headers, body: await response.text() };
    };
    for (const [route, method] of [
      ["/api/auth/me", "GET"],
      ["/api/service-connections", "GET"],
      ["/api/auth/revoke", "POST"],
    ] as const) {
      const known = await asked(secret, route, method);
      expect(known).toStrictEqual(await asked(newApiKeySecret("sandbox"), route, method));
      expect([known.status, known.body]).toStrictEqual([401, '{"error":"missing or invalid Bearer"}']);
    }
    const failure = async (key: string) => {
      const thrown = await service
        .as(key)
        .client.apiKeys.whoAmI({})
        .catch((error: unknown) => error);
      return thrown as { code: number; rawMessage: string };
    };
    const [known, unknown] = [await failure(secret), await failure(newApiKeySecret("sandbox"))];
    expect([known.code, known.rawMessage]).toStrictEqual([unknown.code, unknown.rawMessage]);
  });

  test("is good for a verification that names its caller, and for no other", async () => {
    await connected();
    const { secret, callerService } = await seenByService();
    const [{ id }] = (await principals()) as [Key];
    const good = await verified(secret, callerService as string);
    expect(good).toMatchObject({
      valid: true,
      code: VerifyKeyCode.VALID,
      principal: { apiKeyId: id, scopes: ["sar:write"], callerServiceSlug: "orchestration" },
    });
    for (const caller of ["ai-automation", "Orchestration", "", undefined]) {
      const refused = await verified(secret, caller);
      expect(refused).toMatchObject({
        valid: false,
        code: VerifyKeyCode.WRONG_CALLER_SERVICE,
        answer: { status: 401, body: '{"error":"missing or invalid Bearer"}' },
      });
      expect(refused.principal).toBeUndefined();
    }
  });

  test("is in no answer, no log line, no audit event and no plain column, through its whole life", async () => {
    const answers: string[] = [];
    const ask = async (method: string, route: string, body?: unknown) => {
      const reply = await org.rest(method, route, body);
      answers.push(JSON.stringify([reply.status, [...reply.headers], reply.body]));
      return reply;
    };
    const secrets: string[] = [];
    const call = { service: "aml", method: "GET", path: "/x" };
    const wanted = { serviceSlug: "aml", baseUrl: upstream.url };
    const { body } = await ask("POST", path, wanted);
    const id = body.data.connection.id as string;
    for (let i = 0; i < 2; i++) {
      await ask("POST", "/api/service-calls", call);
      secrets.push(upstream.asked.at(-1)!.headers.authorization!.replace("Bearer ", ""));
      upstream.answer(({ headers }) => ({ body: JSON.stringify(headers) }));
      const echoed = await ask("POST", "/api/service-calls", call);
      expect(echoed.headers.get("x-error-reason")).toBe("CREDENTIAL_REFLECTED");
      upstream.answer({});
      await ask("POST", path, wanted);
    }
    await ask("PATCH", `${path}/${id}`, { baseUrl: "https://elsewhere.example" });
    await ask("POST", path, { ...wanted, scopes: ["no scope"] });
    for (const secret of secrets) await service.as(secret).rest("GET", "/api/auth/me");
    for (const route of [path, "/api/api-keys", "/api/audit/events", "/api/catalog/services"]) {
      await ask("GET", route);
    }
    await ask("DELETE", `${path}/${id}`);
    await ask("GET", "/api/audit/events");

    const dump = await service.postgres.asOwner(
      `select table_name, (xpath('/row/dump/text()', query_to_xml(format(
         'select string_agg(t::text, '' '') as dump from %I t', table_name), false, true, '')))[1]::text as dump
       from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
    );
    const everything = answers.join("\n") + service.logged() + JSON.stringify(dump);
    expect(new Set(secrets).size).toBe(2);
    for (const secret of secrets) {
      const random = secret.slice(-32);
      // The last characters too: what the hint shows of a key ends with its fourth.
      for (const trace of [random, random.slice(8), Buffer.from(secret).toString("hex")]) {
        expect(everything.includes(trace), trace).toBe(false);
      }
    }
  });
});

describe("x-caller-service", () => {
  test("cannot be said by a caller, with a principal or without one", async () => {
    await connected();
    await connected({ serviceSlug: "custom:bank", apiKey: "k" });
    await connected({ serviceSlug: "identity", apiKey: "k" });
    for (const spoof of [
      { "x-caller-service": "ai-automation" },
      { "X-CALLER-SERVICE": "ai-automation" },
      { x_caller_service: "ai-automation" },
      { "x-caller-service": "ai-automation", connection: "x-caller-service" },
    ] as Record<string, string>[]) {
      expect((await seenByService("aml", spoof)).callerService).toBe("orchestration");
      expect(JSON.stringify(upstream.asked.at(-1)!.headers)).not.toContain("ai-automation");
      for (const slug of ["custom:bank", "identity"]) {
        expect((await seenByService(slug, spoof)).callerService).toBeUndefined();
        expect(JSON.stringify(upstream.asked.at(-1)!.headers)).not.toContain("ai-automation");
      }
    }
  });

  test("names the service that the key was issued to, also after the deployment was given another name", async () => {
    const rootKey = Buffer.alloc(32, 7).toString("base64");
    await using before = await startService({ rootKey });
    await connected({}, before.org);
    const { postgres } = before;
    await using renamed = await startService({ rootKey, postgres, callerServiceSlug: "ai-automation" });
    const sameOrg = { ...before.org, ...renamed.as(before.org.secret) };
    expect((await seenByService("aml", {}, sameOrg)).callerService).toBe("orchestration");
    await connected({}, sameOrg);
    expect((await seenByService("aml", {}, sameOrg)).callerService).toBe("ai-automation");
    expect((await seenByService("aml", {}, before.org)).callerService).toBe("ai-automation");
  });

  test("and the credential are not in probes", async () => {
    const { id } = await connected();
    await org.rest("POST", `${path}/${id}/test`);
    const { headers } = upstream.asked.at(-1)!;
    expect([headers.authorization, headers["x-caller-service"]]).toStrictEqual([undefined, undefined]);
  });
});

describe("a principal ends", () => {
  test.each([
    ["when the service is connected again", () => connect(), "orchestration"],
    ["when it is connected with a key", () => connect({ apiKey: "mine" }), undefined],
    [
      "when the connection is given a key",
      (id: string) => org.rest("PATCH", `${path}/${id}`, { apiKey: "mine" }),
      undefined,
    ],
  ])("%s, and the connection works on", async (_, change, callerService) => {
    const { id } = await connected();
    const { secret } = await seenByService();
    const [old] = await livePrincipals();
    expect((await change(id)).status).toBeLessThan(300);
    const after = await seenByService();
    expect([after.secret === secret, after.callerService]).toStrictEqual([false, callerService]);
    expect((await verified(secret, "orchestration")).code).toBe(VerifyKeyCode.REVOKED);
    const live = await livePrincipals();
    expect(live).toHaveLength(callerService === undefined ? 0 : 1);
    expect(live).not.toContain(old);
    if (callerService !== undefined) expect((await verified(after.secret, callerService)).valid).toBe(true);
  });

  test("when the connection is deleted, and a later one gets another", async () => {
    const { id } = await connected();
    const { secret } = await seenByService();
    expect((await org.rest("DELETE", `${path}/${id}`)).status).toBe(200);
    expect(await livePrincipals()).toStrictEqual([]);
    expect((await verified(secret, "orchestration")).code).toBe(VerifyKeyCode.REVOKED);
    await connected();
    expect((await seenByService()).secret).not.toBe(secret);
    expect(await livePrincipals()).toHaveLength(1);
  });

  test("by hand: the connection stays and its calls carry a dead key, until it is connected again", async () => {
    const { id } = await connected();
    const { secret } = await seenByService();
    const [key] = (await livePrincipals()) as [string];
    for (let i = 0; i < 2; i++) expect((await org.rest("DELETE", `/api/api-keys/${key}`)).status).toBe(200);
    expect((await seenByService()).secret).toBe(secret);
    expect((await verified(secret, "orchestration")).code).toBe(VerifyKeyCode.REVOKED);

    expect((await connected()).id).toBe(id);
    const after = await seenByService();
    expect((await verified(after.secret, "orchestration")).valid).toBe(true);
    // It has ended once, so its end is recorded once.
    const { events } = await org.client.audit.listAuditEvents({ target: key, action: "api_key.revoke" });
    expect(events).toHaveLength(1);
  });

  test("not by a change that leaves the credential: switching off, or a path below the old one", async () => {
    const { id } = await connected();
    const { secret } = await seenByService();
    for (const change of [{ active: false }, { active: true }, { baseUrl: `${upstream.url}/v2` }]) {
      expect((await org.rest("PATCH", `${path}/${id}`, change)).status).toBe(200);
    }
    expect((await seenByService()).secret).toBe(secret);
    expect((await verified(secret, "orchestration")).valid).toBe(true);
  });

  test("not by a failed attempt: nothing of it stays", async () => {
    const before = await connected();
    const { secret } = await seenByService();
    const narrow = await keyWith(["connections:write"]);
    const refused = await connect({ baseUrl: "https://evil.example" }, narrow);
    expect([refused.status, refused.body]).toStrictEqual([403, { error: "missing scope: sar:write" }]);
    expect(await principals()).toHaveLength(1);
    expect((await seenByService()).secret).toBe(secret);
    const { body } = await org.rest("GET", `${path}/${before.id}`);
    expect(body.data.connection.baseUrl).toBe(upstream.url);
  });
});

test("a principal is verified as it is called: with the service that may present it", async () => {
  const { id } = await connected();
  const { callerService } = await seenByService();
  const wanted = { baseUrl: `${upstream.url}/below`, verify: true };
  expect((await org.rest("PATCH", `${path}/${id}`, wanted)).status).toBe(200);
  const { url, headers } = upstream.asked.at(-1)!;
  expect([url, headers["x-caller-service"]]).toStrictEqual(["/below", callerService]);
  expect(callerService).toBe("orchestration");
});

test("a principal does not follow its connection to another origin, or to a path beside its own", async () => {
  const { id } = await connected({ baseUrl: `${upstream.url}/aml` });
  const { secret } = await seenByService();
  for (const baseUrl of ["https://evil.example/aml", `${upstream.url}/identity`, upstream.url]) {
    const moved = await org.rest("PATCH", `${path}/${id}`, { baseUrl });
    expect([moved.status, moved.headers.get("x-error-reason")]).toStrictEqual([400, "CREDENTIAL_REQUIRED"]);
    expect(moved.body.error).toMatch(/service principal .* connect the service again with POST/);
  }
  expect((await seenByService()).secret).toBe(secret);

  await using elsewhere = await startUpstream();
  await connected({ baseUrl: elsewhere.url });
  await org.rest("POST", "/api/service-calls", { service: "aml", method: "GET", path: "/x" });
  expect(elsewhere.asked.at(-1)!.headers.authorization).toMatch(/^Bearer qe_sk_/);
  expect(elsewhere.asked.at(-1)!.headers.authorization).not.toContain(secret);
});

describe("nobody gives a principal more than they could give a key", () => {
  test.each<[string[], Record<string, unknown>, string | undefined]>([
    [["sar:write"], {}, undefined],
    [["sar.write"], {}, undefined],
    [["write"], {}, undefined],
    [["api:grant"], {}, undefined],
    [["read"], {}, "sar:write"],
    [["sar:view"], {}, "sar:write"],
    [["api:manage"], {}, "sar:write"],
    [["sar:write"], { scopes: ["sar:view"] }, "sar:view"],
    [["write"], { scopes: ["a:view", "api:manage"] }, "api:manage"],
    [["write"], { scopes: ["a:view", "connections:use"] }, "connections:use"],
    [["a:view", "b:view"], { scopes: ["b:view", "c:view", "d:view"] }, "c:view"],
    [["read"], { serviceSlug: "identity" }, undefined],
    [["a:view"], { serviceSlug: "identity" }, "verifications:view"],
  ])("a key with %j and connections:write, asking for %j: missing %s", async (held, asked, missing) => {
    const by = await keyWith(["connections:write", ...held]);
    const reply = await connect(asked, by);
    if (missing === undefined) expect(reply.status).toBe(201);
    else expect([reply.status, reply.body]).toStrictEqual([403, { error: `missing scope: ${missing}` }]);
    expect(await principals()).toHaveLength(missing === undefined ? 1 : 0);
  });

  test("for any scopes held and asked for, the answer is that of issuing a key", async () => {
    const scope = fc.constantFrom("read", "write", "a:view", "a:write", "a.read", "b:use", "b:view", "api:grant"); // prettier-ignore
    const scopes = fc.uniqueArray(scope, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(scopes, scopes, async (held, wanted) => {
        const by = await keyWith(["connections:write", "api:manage", ...held]);
        const key = await by.rest("POST", "/api/api-keys", { name: "k", scopes: wanted });
        const principal = await connect({ scopes: wanted }, by);
        expect(principal.status).toBe(key.status);
        if (key.status !== 201) expect(principal.body).toStrictEqual(key.body);
      }),
      { numRuns: 40 },
    );
  });
});

describe("the audit", () => {
  interface Event {
    readonly action: string;
    readonly target: string;
    readonly apiKeyId: string;
    readonly requestId: string;
    readonly details: Record<string, unknown>;
  }

  async function eventsOf(change: () => Promise<unknown>): Promise<Event[]> {
    const read = async () => (await org.rest("GET", "/api/audit/events")).body.data.events as Event[];
    const before = (await read()).length;
    await change();
    const events = await read();
    return events.slice(0, events.length - before).toReversed();
  }

  test("leads from each change of the connection to the keys, whose own events are in its transaction", async () => {
    const created = await eventsOf(() => connect());
    const [first] = (await livePrincipals()) as [string];
    expect(created.map(({ action, target }) => [action, target])).toStrictEqual([
      ["api_key.create", first],
      ["connection.create", expect.stringMatching(/^scn_/) as string],
    ]);
    expect(created[0]!.details).toMatchObject({
      name: "aml · orchestration",
      scopes: ["sar:write"],
      kind: "service_principal",
      callerServiceSlug: "orchestration",
    });
    expect(created[1]!.details["principalKeyId"]).toStrictEqual({ before: null, after: first });
    const id = created[1]!.target;

    const again = await eventsOf(() => connect());
    const [second] = (await livePrincipals()) as [string];
    expect(again.map(({ action, target }) => [action, target])).toStrictEqual([
      ["api_key.create", second],
      ["api_key.revoke", first],
      ["connection.upsert", id],
    ]);
    expect(again[2]!.details["principalKeyId"]).toStrictEqual({ before: first, after: second });

    const given = await eventsOf(() => org.rest("PATCH", `${path}/${id}`, { apiKey: "mine" }));
    expect(given.map(({ action, target }) => [action, target])).toStrictEqual([
      ["api_key.revoke", second],
      ["connection.update", id],
    ]);
    expect(given[1]!.details["principalKeyId"]).toStrictEqual({ before: second, after: null });

    const explicit = await eventsOf(() => connect({ apiKey: "other" }));
    expect(explicit.map(({ action }) => action)).toStrictEqual(["connection.upsert"]);
    expect(explicit[0]!.details).not.toHaveProperty("principalKeyId");

    await connect();
    const [third] = (await livePrincipals()) as [string];
    const deleted = await eventsOf(() => org.rest("DELETE", `${path}/${id}`));
    expect(deleted.map(({ action, target }) => [action, target])).toStrictEqual([
      ["api_key.revoke", third],
      ["connection.delete", id],
    ]);
    expect(deleted[1]!.details["principalKeyId"]).toStrictEqual({ before: third, after: null });

    for (const events of [created, again, given, deleted]) {
      expect(new Set(events.map(({ requestId }) => requestId)).size).toBe(1);
      expect(new Set(events.map(({ apiKeyId }) => apiKeyId))).toStrictEqual(new Set([org.apiKeyId]));
      const transactions = await service.postgres.asOwner(
        "select distinct xmin::text from audit_events where request_id = $1",
        [events[0]!.requestId],
      );
      expect(transactions).toHaveLength(1);
    }
  });
});

describe("at the same time", () => {
  const actionsOf = async (action: string) => {
    const rows = await service.postgres.asOwner(
      "select target from audit_events where org_id = $1 and action = $2",
      [org.orgId, action],
    );
    return rows.map(({ target }) => target as string).toSorted();
  };

  test("20 connections of one service leave one live principal, which is the one that is sent", async () => {
    const replies = await Promise.all(Array.from({ length: 20 }, () => connect()));
    expect(replies.map(({ status }) => status)).toStrictEqual(Array.from({ length: 20 }, () => 201));
    const live = await livePrincipals();
    expect(live).toHaveLength(1);
    const all = (await principals()).map(({ id }) => id).toSorted();
    expect(all).toHaveLength(20);
    expect(await actionsOf("api_key.revoke")).toStrictEqual(all.filter((id) => id !== live[0]));
    const { secret } = await seenByService();
    expect(replies.map(({ body }) => body.data.connection.apiKeyHash as string)).toContain(sha256(secret));
    const good = await verified(secret, "orchestration");
    expect([good.valid, good.apiKeyId]).toStrictEqual([true, live[0]]);
  });

  test("connecting, giving a key, revoking and deleting never fail and leave no principal without a connection", async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await connected();
      const [key] = (await livePrincipals()) as [string];
      const replies = await Promise.all([
        connect(),
        org.rest("DELETE", `/api/api-keys/${key}`),
        org.rest("PATCH", `${path}/${id}`, { apiKey: "mine" }),
        connect(),
        org.rest("DELETE", `${path}/${id}`),
      ]);
      const [again, revoked, given, andAgain, deleted] = replies.map(({ status }) => status);
      expect([again, revoked, andAgain, deleted]).toStrictEqual([201, 200, 201, 200]);
      expect([200, 404]).toContain(given);
      const held = await service.postgres.asOwner(
        "select principal_key_id as id from credentials where org_id = $1 and principal_key_id is not null",
        [org.orgId],
      );
      expect(await livePrincipals()).toStrictEqual(held.map((row) => row["id"]));
    }
    expect(await actionsOf("api_key.revoke")).toStrictEqual(
      (await principals()).flatMap(({ id, revokedAt }) => (revokedAt === undefined ? [] : [id])).toSorted(),
    );
  });
});

test("connecting again while the principal is being changed holds up nobody else, so that the two cannot lock each other out", async () => {
  await connected();
  const [key] = (await livePrincipals()) as [string];
  await using holder = openConnection(service.postgres.url, {});
  await holder.run("begin");
  await holder.run("select from api_keys where id = $1 for update", [key]);
  const again = connect();
  await untilOneWaits(service.postgres);
  // Whoever holds the key writes to the record of the organisation next.
  await keyWith(["a:view"]);
  await holder.run("rollback");
  expect((await again).status).toBe(201);
});

test("the next principal has the limit that the one before is being given", async () => {
  await connected();
  const [key] = (await livePrincipals()) as [string];
  await using holder = openConnection(service.postgres.url, {});
  await holder.run("begin");
  await holder.run("update api_keys set rate_limit_per_minute = 7 where id = $1", [key]);
  const again = connect();
  await untilOneWaits(service.postgres);
  await holder.run("commit");
  expect((await again).status).toBe(201);
  const { body } = await org.rest("GET", `/api/api-keys/${(await livePrincipals())[0]}`);
  expect(body.data.apiKey.rateLimitPerMinute).toBe(7);
});

test("another organisation neither sees a principal nor can change or revoke it", async () => {
  const { id } = await connected();
  const { secret } = await seenByService();
  const [key] = (await livePrincipals()) as [string];
  const other = await service.newOrganization("globex");
  expect(JSON.stringify((await other.rest("GET", "/api/api-keys")).body)).not.toContain(key);
  expect(JSON.stringify((await other.rest("GET", "/api/audit/events")).body)).not.toContain(key);
  for (const [method, route, body] of [
    ["GET", `/api/api-keys/${key}`, undefined],
    ["DELETE", `/api/api-keys/${key}`, undefined],
    ["POST", `/api/api-keys/${key}/rotate`, {}],
    ["PATCH", `/api/api-keys/${key}`, { name: "mine" }],
    ["PATCH", `${path}/${id}`, { apiKey: "mine" }],
    ["DELETE", `${path}/${id}`, undefined],
  ] as const) {
    expect((await other.rest(method, route, body)).status).toBe(404);
  }
  // Its own connection of that name is another one.
  await connected({}, other);
  expect(await livePrincipals()).toStrictEqual([key]);
  expect((await seenByService()).secret).toBe(secret);
  const asked = { key: secret, callerServiceSlug: "orchestration" };
  expect((await other.client.verification.verifyKey(asked)).code).toBe(VerifyKeyCode.NOT_FOUND);
  expect((await org.client.verification.verifyKey(asked)).valid).toBe(true);
});
