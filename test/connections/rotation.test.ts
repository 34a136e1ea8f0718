import { afterAll, beforeAll, describe, expect, test } from "vitest";
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

const hour = 3_600;

function upsert(slug: string, apiKey: string, more: object = {}) {
  return service.org.rest("POST", "/api/service-connections", {
    ...{ serviceSlug: slug, baseUrl: upstream.url, apiKey },
    ...more,
  });
}

/** The service takes only these keys from now on; answers what it was asked with by the next calls. */
function accept(...keys: string[]) {
  upstream.answer(({ headers }) => ({
    status: keys.some((key) => headers.authorization === `Bearer ${key}`) ? 200 : 401,
  }));
}

/** The status of a call, and the keys that it was tried with. */
async function call(slug: string) {
  const before = upstream.asked.length;
  const { status } = await service.org.client.connections.callService({
    service: slug,
    method: "GET",
    path: "/",
  });
  return {
    status,
    tried: upstream.asked.slice(before).map(({ headers }) => headers.authorization?.slice(7)),
  };
}

async function fallbacksOf(slug: string) {
  return service.postgres.asOwner(
    `select f.* from fallback_credentials f join connections c on c.id = f.connection_id where c.slug = $1`,
    [slug],
  );
}

describe("a credential that is replaced with a fallback", () => {
  test("is tried once after a 401 with the new one, until its time is over; then it is erased", async () => {
    const slug = "custom:rotated";
    await upsert(slug, "old-key");
    const { body } = await upsert(slug, "new-key", { fallbackSeconds: hour });
    accept("old-key");
    expect(await call(slug)).toStrictEqual({ status: 200, tried: ["new-key", "old-key"] });
    accept("new-key");
    expect(await call(slug)).toStrictEqual({ status: 200, tried: ["new-key"] });
    accept();
    expect(await call(slug)).toStrictEqual({ status: 401, tried: ["new-key", "old-key"] });

    const shown = await service.org.rest("GET", `/api/connections/${body.data.connection.id}`);
    const until = new Date(service.clock.now().getTime() + hour * 1000).toISOString();
    expect(shown.body.data.connection.fallbackUntil).toBe(until);
    accept("old-key");
    service.clock.advance(hour * 1000 - 1);
    expect((await call(slug)).status).toBe(200);
    service.clock.advance(1);
    expect(await call(slug)).toStrictEqual({ status: 401, tried: ["new-key"] });
    await service.app.loops.health.runOnce();
    expect(await fallbacksOf(slug)).toHaveLength(0);
  });

  test("goes out as it did before, though its method and its params are others by now", async () => {
    const slug = "custom:switched";
    await upsert(slug, "", {
      apiKey: undefined,
      auth: { authMethod: "basic", credentials: { username: "u", password: "old-password" } },
    });
    await upsert(slug, "new-key", { fallbackSeconds: hour });
    const basic = `Basic ${Buffer.from("u:old-password").toString("base64")}`;
    upstream.answer(({ headers }) => ({ status: headers.authorization === basic ? 200 : 401 }));
    expect((await call(slug)).status).toBe(200);
  });

  test.each<[what: string, change: (slug: string, id: string) => Promise<unknown>]>([
    ["another rotation without one", (slug) => upsert(slug, "third-key")],
    ["a deletion", (_, id) => service.org.client.connections.deleteConnection({ id })],
  ])("is erased by %s", async (what, change) => {
    const slug = `custom:${what.replaceAll(" ", "-")}`;
    await upsert(slug, "old-key");
    const { body } = await upsert(slug, "new-key", { fallbackSeconds: hour });
    expect(await fallbacksOf(slug)).toHaveLength(1);
    await change(slug, body.data.connection.id as string);
    const left = await service.postgres.asOwner(
      "select 1 from fallback_credentials where connection_id = $1",
      [body.data.connection.id],
    );
    expect(left).toHaveLength(0);
  });

  test("stays the fallback when the same new one is stored again", async () => {
    const slug = "custom:repeated";
    await upsert(slug, "old-key");
    await upsert(slug, "new-key", { fallbackSeconds: hour });
    await upsert(slug, "new-key", { fallbackSeconds: hour });
    accept("old-key");
    expect((await call(slug)).tried).toStrictEqual(["new-key", "old-key"]);
  });

  test("does not go to another place than it was stored for", async () => {
    const slug = "custom:moved";
    await upsert(slug, "old-key");
    const moved = { baseUrl: upstream.url.replace("127.0.0.1", "localhost"), fallbackSeconds: hour };
    const { status, body } = await upsert(slug, "new-key", moved);
    expect([status, body.error]).toStrictEqual([400, expect.stringMatching(/^fallbackSeconds: .*base URL/)]);
    expect(await fallbacksOf(slug)).toHaveLength(0);
  });

  test("is named in the audit by its hash and its end, beside the hash of the new one", async () => {
    const slug = "custom:audited";
    await upsert(slug, "old-key");
    const { body } = await upsert(slug, "new-key", { fallbackSeconds: hour });
    const { events } = await service.org.client.audit.listAuditEvents({ target: body.data.connection.id });
    expect(events[0]!.details).toMatchObject({
      apiKeyHash: {
        before: expect.stringMatching(/^sha256:/) as string,
        after: body.data.connection.apiKeyHash as string,
      },
      fallbackUntil: new Date(service.clock.now().getTime() + hour * 1000).toISOString(),
    });
  });

  test.each([0, 7 * 24 * hour + 1])("is not kept for %i seconds", async (fallbackSeconds) => {
    const { status, body } = await upsert("custom:bounds", "k", { fallbackSeconds });
    expect([status, body.error]).toStrictEqual([400, expect.stringMatching(/fallbackSeconds/)]);
  });
});

test("a call that is on its way while its credential is replaced finishes with the one that it began with", async () => {
  const slug = "custom:on-its-way";
  await upsert(slug, "old-key");
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  upstream.answer(async ({ headers }) => {
    arrive();
    await released;
    return { status: headers.authorization === "Bearer old-key" ? 200 : 401 };
  });
  const calling = call(slug);
  await arrived;
  await upsert(slug, "new-key");
  release();
  expect(await calling).toStrictEqual({ status: 200, tried: ["old-key"] });
});
