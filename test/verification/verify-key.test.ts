import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Consistency, VerifyKeyCode } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { startService, type Presenter, type Tenant, type TestService } from "../support/service.ts";

let service: TestService;
/** A service that lets Patchbay keep its keys. */
let sibling: Presenter;
let stranger: Tenant;
beforeAll(async () => {
  service = await startService({ limits: { callsPerMinute: 500 } });
  sibling = (await issue({ scopes: ["keys:verify"] })).presenter;
  stranger = await service.newOrganization("stranger");
});
afterAll(() => service[Symbol.asyncDispose]());

interface Issued {
  readonly id: string;
  readonly secret: string;
  readonly presenter: Presenter;
}

async function issue(fields: Record<string, unknown> = {}, by: Presenter = service.org): Promise<Issued> {
  const reply = await by.rest("POST", "/api/api-keys", {
    name: "job",
    scopes: ["customers:view"],
    ...fields,
  });
  expect([reply.status, reply.body.error]).toStrictEqual([201, undefined]);
  const { apiKey, secret } = reply.body.data;
  return { id: apiKey.id, secret, presenter: service.as(secret) };
}

async function newUser(): Promise<string> {
  const { user } = await service.org.client.directory.upsertUser({ email: `${randomUUID()}@example.com` });
  return user!.id;
}

/** What the sibling learns over REST. */
async function verify(question: Record<string, unknown>, by: Presenter = sibling) {
  const reply = await by.rest("POST", "/api/api-keys/verify", question);
  expect([reply.status, reply.body.error]).toStrictEqual([200, undefined]);
  return reply.body.data;
}

const invalidBearer = {
  status: 401,
  headers: {
    "www-authenticate": "Bearer",
    "content-type": "application/json",
    "x-error-reason": "INVALID_BEARER",
  },
  body: '{"error":"missing or invalid Bearer"}',
};

describe("a good key", () => {
  test("is answered with who presents it, what is left of its budget, and no answer to relay but headers", async () => {
    const userId = await newUser();
    const expiresAt = new Date(service.clock.now().getTime() + 86_400_000).toISOString();
    const metadata = { team: "payments" };
    const job = await issue({
      scopes: ["sar.write", "customers:view"],
      actAsUserId: userId,
      expiresAt,
      metadata,
    });
    expect(await verify({ key: job.secret, scopes: ["sar:write", "customers:view"] })).toStrictEqual({
      valid: true,
      code: "VERIFY_KEY_CODE_VALID",
      principal: {
        organizationId: service.org.orgId,
        apiKeyId: job.id,
        name: "job",
        effectiveUserId: userId,
        scopes: ["sar.write", "customers:view"],
        metadata,
        expiresAt,
      },
      apiKeyId: job.id,
      budget: { limit: 500, remaining: 499, resetMs: 120 },
      answer: {
        status: 0,
        headers: { "ratelimit-policy": '"default";q=500;w=60', ratelimit: '"default";r=499;t=1' },
        body: "",
      },
    });
  });

  test.each(["Bearer %s", "bearer   %s", "BEARER %s ", "%s"])("may be asked about as %j", async (form) => {
    const job = await issue();
    expect(await verify({ key: form.replace("%s", job.secret) })).toMatchObject({ valid: true });
  });

  test("shows in its last use that it was verified", async () => {
    const job = await issue();
    await verify({ key: job.secret });
    const { body } = await service.org.rest("GET", `/api/api-keys/${job.id}`);
    expect(body.data.apiKey.lastUsedAt).toBe(service.clock.now().toISOString());
  });
});

describe("the sibling relays, byte for byte,", () => {
  test("401 for no key, one that is none, an unknown one, another organisation's, a revoked one", async () => {
    const theirs = await issue({}, stranger);
    const revoked = await issue();
    await service.org.client.apiKeys.revokeApiKey({ id: revoked.id });
    const rotated = await issue();
    await service.org.client.apiKeys.rotateApiKey({ id: rotated.id, graceSeconds: 0 });
    const unknown = newApiKeySecret("sandbox");
    const altered = unknown.slice(0, -1) + (unknown.endsWith("A") ? "B" : "A");
    const cases: [string, string, string][] = [
      ["", "MALFORMED", ""],
      ["Bearer", "MALFORMED", ""],
      ["Bearer ", "MALFORMED", ""],
      ["Basic YTpi", "MALFORMED", ""],
      [altered, "MALFORMED", ""],
      [unknown.toLowerCase(), "MALFORMED", ""],
      [`Bearer ${"x".repeat(600)}`, "MALFORMED", ""],
      ["x".repeat(16_384), "MALFORMED", ""],
      ["\u{1f511}\ud7ff\u0001", "MALFORMED", ""],
      [unknown, "NOT_FOUND", ""],
      [theirs.secret, "NOT_FOUND", ""],
      [rotated.secret, "NOT_FOUND", rotated.id],
      [revoked.secret, "REVOKED", revoked.id],
    ];
    for (const [key, code, apiKeyId] of cases) {
      const { answer, ...rest } = await verify({ key });
      expect(answer).toStrictEqual(invalidBearer);
      expect(rest).toStrictEqual({ valid: false, code: `VERIFY_KEY_CODE_${code}`, apiKeyId });
    }
  });

  test("401 for an expired key, but as an invalid one once it is revoked", async () => {
    const expiresAt = new Date(service.clock.now().getTime() + 1_000).toISOString();
    const job = await issue({ expiresAt });
    expect(await verify({ key: job.secret })).toMatchObject({ valid: true });
    service.clock.advance(1_000);
    expect(await verify({ key: job.secret })).toMatchObject({
      valid: false,
      code: "VERIFY_KEY_CODE_EXPIRED",
      answer: { status: 401, headers: { "www-authenticate": "Bearer" }, body: '{"error":"key expired"}' },
    });
    await service.org.client.apiKeys.revokeApiKey({ id: job.id });
    expect((await verify({ key: job.secret })).answer).toStrictEqual(invalidBearer);
  });

  test("403 for a key of the other environment, known here or not, and whichever way round", async () => {
    const job = await issue();
    const here = await verify({ key: job.secret, environment: "live" });
    expect(here).toMatchObject({ valid: false, code: "VERIFY_KEY_CODE_WRONG_ENVIRONMENT", apiKeyId: job.id });
    expect(here.answer).toStrictEqual({
      status: 403,
      headers: { "content-type": "application/json", "x-error-reason": "WRONG_ENVIRONMENT" },
      body: '{"error":"key is sandbox; endpoint is live"}',
    });
    const live = newApiKeySecret("live");
    expect((await verify({ key: live })).answer.body).toBe('{"error":"key is live; endpoint is sandbox"}');
    expect((await verify({ key: live, environment: "live" })).answer).toStrictEqual(invalidBearer);
    // Edited, its check digits no longer fit.
    const edited = job.secret.replace("sandbox", "live");
    expect((await verify({ key: edited, environment: "live" })).answer).toStrictEqual(invalidBearer);
  });

  test("403 for the first missing scope, spelt as the endpoint spells it", async () => {
    const job = await issue({ scopes: ["customers:view"] });
    const asked = { key: job.secret, scopes: ["customers.read", "sar.write", "case:write"] };
    expect(await verify(asked)).toMatchObject({
      valid: false,
      code: "VERIFY_KEY_CODE_MISSING_SCOPE",
      answer: { status: 403, body: '{"error":"missing scope: sar.write"}' },
      budget: { limit: 500 },
    });
  });

  test("429 once the budget is spent, which calls to Patchbay itself share, and says when to come back", async () => {
    const job = await issue({ rateLimitPerMinute: 3, scopes: ["customers:view"] });
    await verify({ key: job.secret, scopes: ["missing:write"] });
    await verify({ key: job.secret, environment: "live" });
    await job.presenter.rest("GET", "/api/auth/me");
    expect((await verify({ key: job.secret })).budget).toStrictEqual({
      limit: 3,
      remaining: 0,
      resetMs: 60_000,
    });
    expect(await verify({ key: job.secret })).toMatchObject({
      valid: false,
      code: "VERIFY_KEY_CODE_RATE_LIMITED",
      answer: {
        status: 429,
        headers: {
          "retry-after": "20",
          "ratelimit-policy": '"default";q=3;w=60',
          ratelimit: '"default";r=0;t=60',
          "x-error-reason": "RATE_LIMITED",
        },
        body: '{"error":"rate limit exceeded"}',
      },
    });
    expect((await job.presenter.rest("GET", "/api/auth/me")).status).toBe(429);
  });

  test("422 for an unbound key where a user is needed, and 403 for one who has acted already", async () => {
    const [filer, approver] = [await newUser(), await newUser()];
    const unbound = await issue();
    const bound = await issue({ actAsUserId: filer });
    for (const need of [{ fourEyes: true }, { distinctFromUserIds: [approver] }]) {
      expect(await verify({ key: unbound.secret, ...need })).toMatchObject({
        code: "VERIFY_KEY_CODE_NOT_BOUND_TO_USER",
        answer: { status: 422, body: '{"error":"api_key_not_bound_to_user"}' },
      });
      expect(await verify({ key: bound.secret, ...need })).toMatchObject({
        valid: true,
        principal: { effectiveUserId: filer, apiKeyId: bound.id },
      });
    }
    expect(await verify({ key: bound.secret, distinctFromUserIds: [approver, filer] })).toMatchObject({
      valid: false,
      code: "VERIFY_KEY_CODE_FOUR_EYES_VIOLATION",
      answer: { status: 403, body: '{"error":"four-eyes violation"}' },
    });
    await service.org.client.directory.deactivateUser({ id: filer });
    expect(await verify({ key: bound.secret, fourEyes: true })).toMatchObject({ answer: { status: 422 } });
  });

  test("403 for an address that is not on the key's list, or that nobody told", async () => {
    const job = await issue({ allowedCidrs: ["203.0.113.0/24", "2001:db8::1"] });
    const from = async (sourceIp: string) => (await verify({ key: job.secret, sourceIp })).answer.status;
    for (const good of ["203.0.113.255", "::ffff:203.0.113.7", "2001:db8::1"])
      expect(await from(good)).toBe(0);
    for (const bad of [
      "203.0.114.1",
      "2001:db8::2",
      "",
      "203.0.113.7, 203.0.113.8",
      "localhost",
      "0xcb007107",
    ]) {
      expect(await from(bad)).toBe(403);
    }
    const six = await issue({ allowedCidrs: ["::/0"] });
    expect((await verify({ key: six.secret, sourceIp: "2001:db8::7" })).answer.status).toBe(0);
    for (const four of ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107"]) {
      expect((await verify({ key: six.secret, sourceIp: four })).answer.status).toBe(403);
    }
    const answer = await verify({ key: job.secret, sourceIp: "192.0.2.1" });
    expect(answer).toMatchObject({ code: "VERIFY_KEY_CODE_ADDRESS_NOT_ALLOWED", apiKeyId: job.id });
    expect(answer.answer.body).toBe('{"error":"key is not allowed from this address"}');
  });
});

test("a revoked or rotated secret leaves one event for its owner, here and at a sibling, and says nothing of it", async () => {
  const revoked = await issue();
  await service.org.client.apiKeys.revokeApiKey({ id: revoked.id });
  const rotated = await issue();
  await service.org.client.apiKeys.rotateApiKey({ id: rotated.id, graceSeconds: 0 });
  for (const job of [revoked, rotated]) {
    for (let i = 0; i < 3; i++) {
      const { status, body } = await job.presenter.rest("GET", "/api/auth/me");
      expect([status, body]).toStrictEqual([401, { error: "missing or invalid Bearer" }]);
      await verify({ key: job.secret, sourceIp: "203.0.113.9" });
      // It is theirs to verify, but not in another organisation's record.
      await verify({ key: job.secret }, stranger);
    }
  }
  const eventsOf = async (target: string) => {
    const { events } = await service.org.client.audit.listAuditEvents({ target });
    return events.map(({ action }) => action).filter((action) => action.startsWith("api_key.used"));
  };
  await vi.waitUntil(async () => (await eventsOf(rotated.id)).length > 0);
  expect(await eventsOf(revoked.id)).toStrictEqual(["api_key.used_after_revocation"]);
  expect(await eventsOf(rotated.id)).toStrictEqual(["api_key.used_after_rotation"]);
  for (const { id } of [revoked, rotated]) {
    expect((await stranger.client.audit.listAuditEvents({ target: id })).events).toStrictEqual([]);
  }
});

test("the checks come in the order of the contract: each failure hides those behind it", async () => {
  const expiresAt = new Date(service.clock.now().getTime() + 1_000).toISOString();
  const fields = { allowedCidrs: ["203.0.113.0/24"], rateLimitPerMinute: 1, scopes: ["a:view"] };
  const job = await issue({ ...fields, expiresAt });
  const lasting = await issue(fields);
  const ask = async (key: string, question: object) => (await verify({ key, ...question })).code as string;
  const question: Record<string, unknown> = { environment: "live", scopes: ["b:view"], fourEyes: true };
  service.clock.advance(1_000);
  expect(await ask(job.secret, question)).toBe("VERIFY_KEY_CODE_EXPIRED");
  await service.org.client.apiKeys.revokeApiKey({ id: job.id });
  expect(await ask(job.secret, question)).toBe("VERIFY_KEY_CODE_REVOKED");

  expect(await ask(lasting.secret, question)).toBe("VERIFY_KEY_CODE_WRONG_ENVIRONMENT");
  delete question["environment"];
  expect(await ask(lasting.secret, question)).toBe("VERIFY_KEY_CODE_ADDRESS_NOT_ALLOWED");
  question["sourceIp"] = "203.0.113.7";
  // Of what came so far nothing was charged: one call is left, and it is spent on a missing scope.
  expect(await ask(lasting.secret, question)).toBe("VERIFY_KEY_CODE_MISSING_SCOPE");
  expect(await ask(lasting.secret, question)).toBe("VERIFY_KEY_CODE_RATE_LIMITED");
  service.clock.advance(60_000);
  question["scopes"] = ["a:view"];
  expect(await ask(lasting.secret, question)).toBe("VERIFY_KEY_CODE_NOT_BOUND_TO_USER");
});

describe("an endpoint", () => {
  const submit = { serviceSlug: "aml", method: "POST" };

  test("needs the scope that the catalog names for it, by its template or by a path", async () => {
    const job = await issue({ scopes: ["something:view"] });
    for (const path of [
      "/api/sar-filings/{id}/submit",
      "/api/sar-filings/17/submit",
      "/api/sar-filings/17/submit?x=1",
    ]) {
      const endpoint = { ...submit, path };
      expect((await verify({ key: job.secret, endpoint })).answer.body).toBe(
        '{"error":"missing scope: sar:write"}',
      );
    }
  });

  test.each([
    { ...submit, path: "/api/nothing" },
    { ...submit, path: "/api/sar-filings//submit" },
    { ...submit, method: "TRACE", path: "/api/sar-filings/{id}/submit" },
    { ...submit, serviceSlug: "custom:mine", path: "/api/sar-filings/{id}/submit" },
    { ...submit, serviceSlug: "__proto__", path: "/" },
  ])("that the catalog does not name is the sibling's mistake: %j", async (endpoint) => {
    const job = await issue();
    const reply = await sibling.rest("POST", "/api/api-keys/verify", { key: job.secret, endpoint });
    expect([reply.status, reply.body.error]).toStrictEqual([
      400,
      expect.stringMatching(/^endpoint: the catalog/),
    ]);
  });
});

test("a batch is answered in its order, and each of its questions on its own", async () => {
  const job = await issue({ rateLimitPerMinute: 2 });
  const good = { key: job.secret };
  const { responses } = await sibling.client.verification.verifyKeys({
    requests: [good, { key: "nonsense" }, { key: job.secret, scopes: ["b:view"] }, good],
  });
  expect(responses.map(({ code }) => code)).toStrictEqual([
    VerifyKeyCode.VALID,
    VerifyKeyCode.MALFORMED,
    VerifyKeyCode.MISSING_SCOPE,
    VerifyKeyCode.RATE_LIMITED,
  ]);
  const tooMany = sibling.client.verification.verifyKeys({
    requests: Array.from({ length: 101 }, () => good),
  });
  await expect(tooMany).rejects.toThrow(/requests/);
});

test("the last call of a budget is for the first question of a batch, though the second is answered from memory", async () => {
  const job = await issue({ rateLimitPerMinute: 2 });
  const key = job.secret;
  await verify({ key });
  const { responses } = await sibling.client.verification.verifyKeys({
    requests: [{ key, consistency: Consistency.STRONG }, { key }],
  });
  expect(responses.map(({ valid }) => valid)).toStrictEqual([true, false]);
});

test("of a batch with a question that cannot be asked, nothing is charged", async () => {
  const job = await issue({ rateLimitPerMinute: 2 });
  const endpoint = { serviceSlug: "aml", method: "POST", path: "/api/nothing" };
  const batch = sibling.client.verification.verifyKeys({
    requests: [{ key: job.secret }, { key: "", endpoint }],
  });
  await expect(batch).rejects.toThrow(/the catalog names no such endpoint/);
  expect((await verify({ key: job.secret })).budget.remaining).toBe(1);
});

test("requests that a sibling let in by itself are charged, for a minute beyond the limit at most", async () => {
  const job = await issue({ rateLimitPerMinute: 10 });
  const remaining = async (alreadyMade: number) =>
    (await verify({ key: job.secret, alreadyMade })).budget.remaining as number;
  expect(await remaining(3)).toBe(6);
  for (let i = 0; i < 3; i++) expect(await remaining(100)).toBe(0);
  service.clock.advance(60_000);
  expect(await remaining(0)).toBe(0);
  service.clock.advance(60_000);
  expect(await remaining(0)).toBe(9);
});

test("the sibling's own budget is not spent, however much it asks", async () => {
  const { presenter } = await issue({ scopes: ["keys:verify"], rateLimitPerMinute: 1 });
  for (let i = 0; i < 5; i++)
    expect(await verify({ key: "nonsense" }, presenter)).toMatchObject({ valid: false });
  expect((await presenter.rest("GET", "/api/auth/me")).status).toBe(200);
  expect((await presenter.rest("GET", "/api/auth/me")).status).toBe(429);
});

test("who guesses keys at a sibling is refused, and nobody else is", async () => {
  await using guessed = await startService({ limits: { failuresPerMinute: 3 } });
  const { client, rest } = guessed.org;
  const ask = async (key: string, sourceIp?: string) => {
    const { body } = await rest("POST", "/api/api-keys/verify", { key, ...(sourceIp && { sourceIp }) });
    return body.data.code.replace("VERIFY_KEY_CODE_", "") as string;
  };
  const guess = (sourceIp?: string) => ask(newApiKeySecret("sandbox"), sourceIp);
  const good = await client.apiKeys.createApiKey({ name: "good", scopes: ["a:view"] });
  const other = await client.apiKeys.createApiKey({ name: "other", scopes: ["a:view"] });
  expect(await ask(good.secret, "203.0.113.7")).toBe("VALID");
  for (let i = 0; i < 3; i++) expect(await guess("203.0.113.7")).toBe("NOT_FOUND");
  expect(await guess("203.0.113.7")).toBe("RATE_LIMITED");
  // Not looked up, so that nobody learns from there which keys are good; one that is remembered gets in.
  expect(await ask(other.secret, "203.0.113.7")).toBe("RATE_LIMITED");
  expect(await ask(good.secret, "203.0.113.7")).toBe("VALID");
  expect(await ask(other.secret, "203.0.113.8")).toBe("VALID");
  for (let i = 0; i < 5; i++) expect(await guess()).toBe("NOT_FOUND");
});

test("with strong consistency the database is asked, whatever is remembered", async () => {
  const job = await issue();
  await verify({ key: job.secret });
  // Behind the service's back, so that nothing is announced.
  await service.postgres.asOwner("alter table api_keys disable trigger user");
  await service.postgres.asOwner("update api_keys set revoked_at = now() where id = $1", [job.id]);
  await service.postgres.asOwner("alter table api_keys enable trigger user");
  expect((await verify({ key: job.secret })).code).toBe("VERIFY_KEY_CODE_VALID");
  const { code } = await sibling.client.verification.verifyKey({
    key: job.secret,
    consistency: Consistency.STRONG,
  });
  expect(code).toBe(VerifyKeyCode.REVOKED);
  expect((await verify({ key: job.secret })).code).toBe("VERIFY_KEY_CODE_REVOKED");
});

test("a verified key is in no log line, whatever is asked about it", async () => {
  const job = await issue();
  await verify({ key: job.secret });
  await sibling.rest("POST", "/api/api-keys/verify", { key: job.secret, environment: "moon" });
  await sibling.rest("POST", "/api/api-keys/verify", { key: { nested: job.secret } });
  await sibling.rest("POST", "/api/api-keys/verify", { key: [job.secret] });
  expect(service.logged()).not.toContain(job.secret.slice(18));
});
