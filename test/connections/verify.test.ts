import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ProbeCall } from "#src/integrations/integration.ts";
import { define } from "../support/integrations.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Answer, type Asked, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
});
beforeEach(() => upstream.answer({}));
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const good = "the-good-password";
const basicOf = (password: string) => `Basic ${Buffer.from(`u:${password}`).toString("base64")}`;

/** A service that takes the good password only. */
const strict = ({ headers }: Asked): Answer =>
  headers.authorization === basicOf(good) ? { body: '{"user":{"id":7}}' } : { status: 401 };

const wanted = (password: string, more: object = {}) => ({
  integration: "custom:strict",
  authMethod: "basic",
  baseUrl: upstream.url,
  credentials: { username: "u", password },
  ...more,
});

async function create(body: object) {
  const reply = await service.org.rest("POST", "/api/connections", body);
  return {
    ...reply,
    reason: reply.headers.get("x-error-reason"),
    id: reply.body.data?.connection.id as string,
  };
}

async function countOf(table: string) {
  return (await service.postgres.asOwner(`select count(*)::int as n from ${table}`))[0]!["n"];
}

async function connectionOf(id: string) {
  return (await service.org.rest("GET", `/api/connections/${id}`)).body.data.connection;
}

describe("with verify, before anything is stored,", () => {
  test("the service is asked with the credential, and one that it does not take is refused by stage and status", async () => {
    upstream.answer(strict);
    const before = [
      await countOf("connections"),
      await countOf("credentials"),
      await countOf("audit_events"),
    ];
    const refused = await create(wanted("a-bad-password", { verify: true }));
    expect([refused.status, refused.reason, refused.body.error]).toStrictEqual([
      409,
      "CREDENTIAL_REJECTED",
      "nothing was stored, as the credential did not pass its test: auth: the service answered 401, so it does " +
        "not take the credential",
    ]);
    expect(upstream.asked.at(-1)).toMatchObject({ method: "GET", url: "/" });
    expect([
      await countOf("connections"),
      await countOf("credentials"),
      await countOf("audit_events"),
    ]).toStrictEqual(before);
    expect((await create(wanted(good, { verify: true }))).status).toBe(201);
  });

  test("a service that cannot be reached is named with the stage", async () => {
    const refused = await create(wanted(good, { baseUrl: "http://127.0.0.1:9", verify: true }));
    expect([refused.reason, refused.body.error]).toStrictEqual([
      "CREDENTIAL_REJECTED",
      expect.stringMatching(/: TCP: 127\.0\.0\.1 refuses the connection/),
    ]);
  });

  test("an update asks with what would be: the new credential, or the stored one at a new path", async () => {
    upstream.answer(strict);
    const { id } = await create(wanted(good));
    const change = (changes: object) => service.org.rest("PATCH", `/api/connections/${id}`, changes);
    const bad = await change({ credentials: { password: "a-bad-password" }, verify: true, name: "x" });
    expect(bad.headers.get("x-error-reason")).toBe("CREDENTIAL_REJECTED");
    expect((await connectionOf(id)).name).toBeUndefined();
    expect((await change({ baseUrl: `${upstream.url}/v2`, verify: true })).status).toBe(200);
    expect(upstream.asked.at(-1)).toMatchObject({ url: "/v2", headers: { authorization: basicOf(good) } });
    await using elsewhere = await startUpstream();
    const moved = await change({ baseUrl: elsewhere.url, verify: true });
    expect(moved.headers.get("x-error-reason")).toBe("CREDENTIAL_REQUIRED");
    expect(elsewhere.asked).toStrictEqual([]);
  });

  test("a slug keeps its credential if the service does not take the new one", async () => {
    upstream.answer(({ headers }) => ({ status: headers.authorization === "Bearer old-key" ? 200 : 403 }));
    const upsert = (apiKey: string, verify: boolean) =>
      service.org.rest("POST", "/api/service-connections", {
        ...{ serviceSlug: "custom:kept", baseUrl: upstream.url, apiKey, verify },
      });
    expect((await upsert("old-key", true)).status).toBe(201);
    expect((await upsert("new-key", true)).headers.get("x-error-reason")).toBe("CREDENTIAL_REJECTED");
    const call = { service: "custom:kept", method: "GET", path: "/" };
    expect((await service.org.client.connections.callService(call)).status).toBe(200);
  });

  test("a service principal cannot be tried, as it is issued with the change", async () => {
    const reply = await service.org.rest("POST", "/api/service-connections", {
      ...{ serviceSlug: "aml", baseUrl: upstream.url, verify: true },
    });
    expect([reply.status, reply.body.error]).toStrictEqual([400, expect.stringMatching(/^verify: /)]);
  });
});

describe("a probe that the integration declares", () => {
  const probe = { method: "GET", path: "/me?full=1", expect: { status: 200 } } as const satisfies ProbeCall;
  const declare = (more: Partial<ProbeCall>) =>
    define(service, "custom:strict", { probe: { ...probe, ...more } });

  test.each<[what: string, more: Partial<ProbeCall>, answer: Answer, error: RegExp | undefined]>([
    ["the expected status", {}, {}, undefined],
    ["a status that is good as well", { alsoValid: [403] }, { status: 403 }, undefined],
    ["401", {}, { status: 401 }, /^auth: the service answered 401/],
    ["another status", {}, { status: 204 }, /^status: the service answered 204, not 200/],
    ["5xx", {}, { status: 503 }, /^status: the service answered 503/],
    [
      "the member that a good credential gets",
      { expect: { status: 200, member: "/user/id" } },
      { body: '{"user":{"id":7}}' },
      undefined,
    ],
    [
      "no such member",
      { expect: { status: 200, member: "/user/id" } },
      { body: '{"user":{"id":null}}' },
      /^auth: the service answered 200 without \/user\/id/,
    ],
    [
      "something that is not JSON where a member is expected",
      { expect: { status: 200, member: "/user/id" } },
      { body: "<html>" },
      /^auth: the service answered 200 without/,
    ],
  ])("that is answered with %s says whether the credential is good", async (_, more, answer, error) => {
    await declare(more);
    upstream.answer(answer);
    const { id } = await create(wanted(good));
    const { body } = await service.org.rest("POST", `/api/connections/${id}/test`);
    expect(body).toStrictEqual(
      error === undefined
        ? { ok: true, latencyMs: expect.any(Number) as number, ...(answer.status === 403 && { status: 403 }) }
        : { ok: false, error: expect.stringMatching(error) as string },
    );
    expect(upstream.asked.at(-1)).toMatchObject({
      url: "/me?full=1",
      headers: { authorization: basicOf(good) },
    });
  });

  test("goes nowhere that the integration does not name among its hosts", async () => {
    await using elsewhere = await startUpstream();
    await declare({ baseUrl: elsewhere.url });
    const { id } = await create(wanted(good));
    const { body } = await service.org.rest("POST", `/api/connections/${id}/test`);
    expect(body).toMatchObject({ ok: false, error: expect.stringMatching(/allowedHosts/) as string });
    expect(elsewhere.asked).toStrictEqual([]);
  });

  test("is made by the sweep with the credential, unless it is on demand only or nobody is signed in", async () => {
    await using own = await startUpstream();
    const at = (path: string) => wanted(good, { baseUrl: `${own.url}${path}` });
    await declare({});
    await create(at("/each"));
    const { id } = await create(at("/pending"));
    await service.postgres.asOwner("update connections set status = 'NEEDS_REAUTH' where id = $1", [id]);
    await declare({ onDemandOnly: true });
    await create(at("/on-demand"));
    await service.app.loops.health.runOnce();
    const seen = own.asked.map(({ url, headers }): [string, string | undefined] => [
      url,
      headers.authorization,
    ]);
    expect(Object.fromEntries(seen)).toStrictEqual({
      "/each/me?full=1": basicOf(good),
      "/on-demand": undefined,
      "/pending": undefined,
    });
    expect(seen).toHaveLength(3);
  });

  test("is made without the credential for a connection that was switched off while it waited for its turn", async () => {
    await using own = await startUpstream();
    const { promise: switchedOff, resolve: release } = Promise.withResolvers<void>();
    const { promise: busy, resolve: isBusy } = Promise.withResolvers<void>();
    await declare({});
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await create(wanted(good, { baseUrl: `${own.url}/${i}` }))).id);
    own.answer(async () => {
      // As many as one host is asked at once.
      if (own.asked.length === 4) isBusy();
      await switchedOff;
      return {};
    });
    const sweep = service.app.loops.health.runOnce();
    await busy;
    const started = new Set(own.asked.map(({ url }) => url.split("/")[1]));
    const waiting = ids.findIndex((_, i) => !started.has(String(i)));
    await service.org.rest("PATCH", `/api/connections/${ids[waiting]}`, { active: false });
    release();
    await sweep;
    const last = own.asked.find(({ url }) => url.split("/")[1] === String(waiting));
    expect(last?.headers.authorization).toBeUndefined();
    // Whoever tests it asks for that.
    await service.org.rest("POST", `/api/connections/${ids[waiting]}/test`);
    expect(own.asked.at(-1)).toMatchObject({ headers: { authorization: basicOf(good) } });
  });

  test("that is not there costs the sweep no look at a credential", async () => {
    await using postgres = await createTestDatabase();
    await using proxy = await startProxy(postgres.url);
    await using counted = await startService({ postgres: { ...postgres, url: proxy.url } });
    const sweepOf = async (many: number) => {
      for (let i = 0; i < many; i++) {
        const connect = { serviceSlug: `custom:s${i}`, baseUrl: `${upstream.url}/${i}`, apiKey: "k" };
        await counted.org.client.connections.upsertServiceConnection(connect);
      }
      const before = proxy.statements();
      await counted.app.loops.health.runOnce();
      return proxy.statements() - before;
    };
    expect(await sweepOf(10)).toBe(await sweepOf(1));
  });
});

describe("the last error", () => {
  test("of a test is shown with its stage and time, and gone when the service has answered well", async () => {
    const { id } = await create(wanted(good, { integration: "custom:plain" }));
    upstream.answer({ status: 500 });
    await service.org.rest("POST", `/api/connections/${id}/test`);
    const at = service.clock.now().toISOString();
    const error = { stage: "status", message: "the service answered 500", at };
    expect((await connectionOf(id)).lastError).toStrictEqual(error);
    service.clock.advance(1_000);
    upstream.answer({});
    await service.org.rest("POST", `/api/connections/${id}/test`);
    expect((await connectionOf(id)).lastError).toBeUndefined();
  });

  test("of a sweep is shown likewise", async () => {
    const down = wanted(good, { integration: "custom:down", baseUrl: "http://127.0.0.1:9" });
    const { id } = await create(down);
    await service.app.loops.health.runOnce();
    expect((await connectionOf(id)).lastError).toStrictEqual({
      stage: "TCP",
      message: expect.stringMatching(/^127\.0\.0\.1 refuses the connection/) as string,
      at: service.clock.now().toISOString(),
    });
  });
});

test("a service that answers 401 to a probe without the credential can be reached, and the test says so", async () => {
  const { id } = await create(wanted(good, { integration: "custom:plain" }));
  upstream.answer({ status: 401 });
  const { body } = await service.org.rest("POST", `/api/connections/${id}/test`);
  expect(body).toStrictEqual({ ok: true, latencyMs: expect.any(Number) as number, status: 401 });
});
