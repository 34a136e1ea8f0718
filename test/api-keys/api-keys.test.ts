import { Code, ConnectError } from "@connectrpc/connect";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

async function issue(fields: Record<string, unknown>, by: Presenter = service.org) {
  const reply = await by.rest("POST", "/api/api-keys", { name: "a key", ...fields });
  expect(reply.status).toBe(201);
  const { apiKey, secret } = reply.body.data as { apiKey: { id: string }; secret: string };
  return { id: apiKey.id, ...service.as(secret) };
}

async function addUser(status: "active" | "deactivated"): Promise<string> {
  const { directory } = service.org.client;
  const { user } = await directory.upsertUser({ email: `${randomUUID()}@example.com` });
  if (status === "deactivated") await directory.deactivateUser({ id: user!.id });
  return user!.id;
}

describe("issuing a key", () => {
  test("answers 201 and the secret, which no later answer and no log holds", async () => {
    const reply = await service.org.rest("POST", "/api/api-keys", {
      name: "payments-service",
      scopes: ["evaluate:write", "sar.write"],
    });
    expect(reply.status).toBe(201);
    const { apiKey, secret, warnings } = reply.body.data;
    expect(secret).toMatch(/^qe_sk_sandbox_[A-Z2-7]{32}$/);
    expect(warnings).toStrictEqual([]);
    expect(apiKey).toStrictEqual({
      id: expect.stringMatching(/^key_/) as string,
      name: "payments-service",
      environment: "sandbox",
      scopes: ["evaluate:write", "sar.write"],
      hint: `${(secret as string).slice(0, 18)}…`,
      createdAt: expect.any(String) as string,
      secrets: [{ hint: `${(secret as string).slice(0, 18)}…`, createdAt: expect.any(String) as string }],
      kind: "issued",
      allowedCidrs: [],
      metadata: {},
    });
    const later = [
      await service.org.rest("GET", "/api/api-keys"),
      await service.org.rest("GET", `/api/api-keys/${apiKey.id}`),
      await service.org.rest("GET", "/api/audit/events"),
    ];
    const rest = (secret as string).slice(18);
    expect(JSON.stringify(later.map(({ body }) => body as unknown)) + service.logged()).not.toContain(rest);
  });

  test.each([
    ["no name", { name: "" }, /name/],
    ["no scopes", { scopes: [] }, /scopes/],
    ["a scope that is none", { scopes: ["everything"] }, /"everything" is not a scope/],
    ["an end in the past", { expiresAt: "2020-01-01T00:00:00Z" }, /expiresAt/],
    ["an end beyond all calendars", { expiresAt: "2020-13-01T00:00:00Z" }, /expiresAt/],
    [
      "a misspelt field, which would make a key without end",
      { expiresat: "2030-01-01T00:00:00Z" },
      /expiresat/,
    ],
    ["an unknown user", { actAsUserId: "usr_nobody" }, /actAsUserId/],
    ["an address that is none", { allowedCidrs: ["10.0.0.0/33"] }, /"10\.0\.0\.0\/33" is neither/],
    ["a name with NUL", { name: "a\u0000b" }, /NUL/],
  ])("refuses %s with 400", async (_, change, message) => {
    const reply = await service.org.rest("POST", "/api/api-keys", {
      name: "k",
      scopes: ["a:view"],
      ...change,
    });
    expect([reply.status, reply.body]).toStrictEqual([
      400,
      { error: expect.stringMatching(message) as string },
    ]);
  });

  test("a wrong type never comes back as the value that was sent", async () => {
    for (const protocol of ["rest", "connect"]) {
      const path = protocol === "rest" ? "/api/api-keys" : "/patchbay.apikeys.v1.ApiKeyService/CreateApiKey";
      const reply = await service.org.rest("POST", path, {
        name: { secret: "hunter2hunter2" },
        scopes: ["a:view"],
      });
      expect(reply.status).toBe(400);
      expect(JSON.stringify(reply.body)).toContain("name");
      expect(JSON.stringify(reply.body) + service.logged()).not.toContain("hunter2");
    }
  });

  test("without api:grant gives only what the caller's key grants, and names the first it cannot", async () => {
    const manager = await issue({ scopes: ["api:manage", "write"] });
    await issue({ scopes: ["customers:view", "customers.write", "read"] }, manager);
    const reply = await manager.rest("POST", "/api/api-keys", {
      name: "too wide",
      scopes: ["customers:view", "connections:use", "api:grant"],
    });
    expect([reply.status, reply.body]).toStrictEqual([403, { error: "missing scope: connections:use" }]);
  });

  test("for a calling service is refused: only Patchbay itself issues service principals", async () => {
    const fields = { name: "k", scopes: ["a:view"], callerServiceSlug: "orchestration" };
    const reply = await service.org.rest("POST", "/api/api-keys", fields);
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([
      403,
      "CALLER_SERVICE_RESERVED",
    ]);
  });

  test("a live key with the wildcard write is issued with a warning", async () => {
    await using live = await startService({ environment: "live" });
    const reply = await live.org.rest("POST", "/api/api-keys", { name: "wide", scopes: ["write"] });
    expect(reply.status).toBe(201);
    expect(reply.body.data.warnings).toStrictEqual([expect.stringContaining("write")]);
  });

  test("binds it to an active user, whom the audit then names beside the key", async () => {
    const userId = await addUser("active");
    const bound = await issue({ scopes: ["api:manage", "a:view"], actAsUserId: userId });
    expect((await bound.rest("GET", "/api/auth/me")).body.data.effectiveUserId).toBe(userId);
    const made = await issue({ scopes: ["a:view"] }, bound);
    const { events } = await service.org.client.audit.listAuditEvents({ target: made.id });
    expect(events[0]).toMatchObject({ action: "api_key.create", userId, apiKeyId: bound.id });

    await service.org.client.directory.deactivateUser({ id: userId });
    expect((await bound.rest("GET", "/api/auth/me")).body.data).not.toHaveProperty("effectiveUserId");
  });

  test("to a deactivated user is refused", async () => {
    const userId = await addUser("deactivated");
    const reply = await service.org.rest("POST", "/api/api-keys", {
      name: "k",
      scopes: ["a:view"],
      actAsUserId: userId,
    });
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([400, "UNKNOWN_USER"]);
  });
});

describe("changing a key", () => {
  test("changes what is named, null clears, and the audit holds before and after", async () => {
    const userId = await addUser("active");
    const key = await issue({ scopes: ["a:view"], actAsUserId: userId });
    const path = `/api/api-keys/${key.id}`;
    const cleared = await service.org.rest("PATCH", path, { actAsUserId: null });
    expect(cleared.body.data.apiKey).not.toHaveProperty("actAsUserId");
    expect(cleared.body.data.apiKey).toMatchObject({ name: "a key", scopes: ["a:view"] });
    await service.org.rest("PATCH", path, { name: "renamed", scopes: ["a:write"] });
    const { events } = await service.org.client.audit.listAuditEvents({
      target: key.id,
      action: "api_key.update",
    });
    expect(events.map((event) => event.details)).toMatchObject([
      { before: { name: "a key", scopes: ["a:view"] }, after: { name: "renamed", scopes: ["a:write"] } },
      { before: { actAsUserId: userId }, after: { actAsUserId: null } },
    ]);
  });

  test.each(["id", "environment", "secret", "callerServiceSlug", "hint"])(
    "refuses to change %s, by its name",
    async (field) => {
      const key = await issue({ scopes: ["a:view"] });
      const reply = await service.org.rest("PATCH", `/api/api-keys/${key.id}`, { [field]: "x" });
      expect([reply.status, reply.body]).toStrictEqual([
        400,
        { error: expect.stringContaining(field) as string },
      ]);
    },
  );

  test("an update mask that names a fixed field is refused, with those that can be changed", async () => {
    const { id } = await issue({ scopes: ["a:view"] });
    const changing = service.org.client.apiKeys.updateApiKey({ id, updateMask: { paths: ["created_at"] } });
    const error = ConnectError.from(await changing.catch((thrown: unknown) => thrown));
    expect([error.code, reasonOf(error)]).toStrictEqual([Code.InvalidArgument, "IMMUTABLE_FIELD"]);
    expect(error.rawMessage).toMatch(
      /^createdAt cannot be changed; change one of name, scopes, actAsUserId,/,
    );
  });

  test("a key cannot widen or rebind itself", async () => {
    const userId = await addUser("active");
    const manager = await issue({ scopes: ["api:manage", "api:grant"] });
    for (const change of [{ scopes: ["write"] }, { actAsUserId: userId }]) {
      const reply = await manager.rest("PATCH", `/api/api-keys/${manager.id}`, change);
      expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([403, "SELF_MODIFICATION"]);
    }
  });

  test("a manager without api:grant cannot widen another key beyond itself", async () => {
    const manager = await issue({ scopes: ["api:manage", "a:view"] });
    const key = await issue({ scopes: ["a:view"] }, manager);
    const reply = await manager.rest("PATCH", `/api/api-keys/${key.id}`, { scopes: ["a:view", "b:view"] });
    expect([reply.status, reply.body]).toStrictEqual([403, { error: "missing scope: b:view" }]);
  });

  test("of another organisation looks like one that does not exist", async () => {
    const key = await issue({ scopes: ["a:view"] });
    const other = await service.newOrganization("globex");
    for (const [method, body] of [["GET"], ["PATCH", { name: "x" }], ["DELETE"]] as const) {
      const theirs = await other.rest(method, `/api/api-keys/${key.id}`, body);
      const nobodys = await other.rest(method, "/api/api-keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV", body);
      expect([theirs.status, theirs.body]).toStrictEqual([404, nobodys.body]);
    }
  });
});

test("the list has the oldest key first, revoked ones too, and goes on where the page before ended", async () => {
  const org = await service.newOrganization("lister");
  // The admin key was issued by the real clock, which has gone on since the start.
  const ids = [org.apiKeyId];
  service.clock.advance(60 * 60 * 1000);
  for (const name of ["b", "a", "c"]) {
    service.clock.advance(1);
    ids.push((await issue({ name, scopes: ["a:view"] }, org)).id);
  }
  await org.rest("DELETE", `/api/api-keys/${ids[1]}`);
  const first = await org.client.apiKeys.listApiKeys({ pageSize: 3 });
  const rest = await org.client.apiKeys.listApiKeys({ pageSize: 3, pageToken: first.nextPageToken ?? "" });
  expect([...first.apiKeys, ...rest.apiKeys].map(({ id }) => id)).toStrictEqual(ids);
  expect([first.apiKeys.length, rest.nextPageToken]).toStrictEqual([3, undefined]);
});

describe("revoking a key", () => {
  test("ends it at once, twice answers the same, and leaves one event", async () => {
    const key = await issue({ scopes: ["a:view"] });
    expect((await key.rest("GET", "/api/auth/me")).status).toBe(200);
    const first = await service.org.rest("DELETE", `/api/api-keys/${key.id}`);
    const second = await service.org.rest("DELETE", `/api/api-keys/${key.id}`);
    expect([first.status, second.status, second.body]).toStrictEqual([200, 200, first.body]);
    const refused = await key.rest("GET", "/api/auth/me");
    expect([refused.status, refused.body]).toStrictEqual([401, { error: "missing or invalid Bearer" }]);
    const { events } = await service.org.client.audit.listAuditEvents({
      target: key.id,
      action: "api_key.revoke",
    });
    expect(events).toHaveLength(1);
    const changed = await service.org.rest("PATCH", `/api/api-keys/${key.id}`, { name: "x" });
    expect([changed.status, changed.headers.get("x-error-reason")]).toStrictEqual([409, "API_KEY_REVOKED"]);
  });
});

test("whoever holds a key can end it, whatever its scopes, and only that one", async () => {
  const key = await issue({ scopes: ["a:view"] });
  const other = await issue({ scopes: ["a:view"] });
  const reply = await key.rest("POST", "/api/auth/revoke");
  expect([reply.status, reply.body.data.apiKey.id]).toStrictEqual([200, key.id]);
  expect((await key.rest("GET", "/api/auth/me")).status).toBe(401);
  expect((await key.rest("POST", "/api/auth/revoke")).status).toBe(401);
  expect((await other.rest("GET", "/api/auth/me")).status).toBe(200);
  const { events } = await service.org.client.audit.listAuditEvents({
    target: key.id,
    action: "api_key.revoke",
  });
  expect(events).toMatchObject([{ apiKeyId: key.id }]);
});

test("keys of the other environment are managed only there, also on one database", async () => {
  await using postgres = await createTestDatabase();
  const rootKey = Buffer.alloc(32, 3).toString("base64");
  await using sandbox = await startService({ postgres, rootKey });
  await using live = await startService({ postgres, rootKey, environment: "live" });
  const { body } = await live.org.rest("POST", "/api/api-keys", { name: "live", scopes: ["a:view"] });
  const id = body.data.apiKey.id as string;
  // One organisation in both environments: its sandbox key manages the sandbox only.
  const { orgId, apiKeyId } = sandbox.org;
  await postgres.asOwner(
    `insert into api_keys select $1, id, name, environment, scopes, null, created_at from api_keys where org_id = $2`,
    [live.org.orgId, orgId],
  );
  await postgres.asOwner("update api_key_secrets set org_id = $1 where key_id = $2", [
    live.org.orgId,
    apiKeyId,
  ]);
  const manager = sandbox.org;
  expect((await manager.rest("GET", "/api/api-keys")).body.data.apiKeys).toHaveLength(1);
  for (const [method, change] of [["GET"], ["PATCH", { scopes: ["api:grant"] }], ["DELETE"]] as const) {
    expect((await manager.rest(method, `/api/api-keys/${id}`, change)).status).toBe(404);
  }
});

test("prolonging or rebinding a key hands out its scopes, so it takes a key that has them", async () => {
  const manager = await issue({ scopes: ["api:manage"] });
  const wider = await issue({ scopes: ["a:view"], expiresAt: "2100-01-01T00:00:00Z" });
  for (const change of [{ expiresAt: null }, { actAsUserId: null }]) {
    const reply = await manager.rest("PATCH", `/api/api-keys/${wider.id}`, change);
    expect([reply.status, reply.body]).toStrictEqual([403, { error: "missing scope: a:view" }]);
  }
  const own = await manager.rest("PATCH", `/api/api-keys/${manager.id}`, { expiresAt: null });
  expect([own.status, own.headers.get("x-error-reason")]).toStrictEqual([403, "SELF_MODIFICATION"]);
});

test("a key is refused from the very instant of its end", async () => {
  await using aside = await startService();
  const end = new Date(aside.clock.now().getTime() + 60_000);
  const { body } = await aside.org.rest("POST", "/api/api-keys", {
    name: "short",
    scopes: ["a:view"],
    expiresAt: end.toISOString(),
  });
  const key = aside.as(body.data.secret as string);
  aside.clock.advance(59_999);
  expect((await key.rest("GET", "/api/auth/me")).status).toBe(200);
  aside.clock.advance(1);
  const late = await key.rest("GET", "/api/auth/me");
  expect([late.status, late.body]).toStrictEqual([401, { error: "key expired" }]);
  await expect(key.client.apiKeys.whoAmI({})).rejects.toMatchObject({
    code: Code.Unauthenticated,
    rawMessage: "key expired",
  });
});

test("last use is recorded for keys that were accepted", async () => {
  await using aside = await startService();
  const { body } = await aside.org.rest("POST", "/api/api-keys", { name: "used", scopes: ["a:view"] });
  await aside.as(body.data.secret as string).rest("GET", "/api/auth/me");
  const seen = await aside.org.rest("GET", `/api/api-keys/${body.data.apiKey.id}`);
  expect(seen.body.data.apiKey.lastUsedAt).toBe(aside.clock.now().toISOString());
});
