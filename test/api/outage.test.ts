import { Code } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type TestService } from "../support/service.ts";

/** Calls of all kinds that need the database, whatever they do with it and how often. */
const callsOf = (secret: string): readonly (readonly [string, string, unknown?])[] => [
  ["GET", "/api/service-connections"],
  ["GET", "/api/api-keys"],
  ["GET", "/api/audit/events"],
  ["POST", "/api/service-connections", { serviceSlug: "aml", baseUrl: "https://aml.example", apiKey: "k" }],
  ["POST", "/api/service-calls", { service: "aml", method: "GET", path: "/" }],
  ["POST", "/api/api-keys", { name: "new", scopes: ["connections:view"] }],
  ["PATCH", "/api/api-keys/key_unknown", { name: "renamed" }],
  ["POST", "/api/api-keys/key_unknown/rotate", { replaceUnused: true }],
  ["DELETE", "/api/api-keys/key_unknown"],
  ["POST", "/api/api-keys/verify", { key: secret, consistency: "CONSISTENCY_STRONG" }],
];

async function startBehindProxy() {
  const opened = new AsyncDisposableStack();
  const postgres = opened.use(await createTestDatabase());
  const proxy = opened.use(await startProxy(postgres.url));
  const service = opened.use(await startService({ postgres: { ...postgres, url: proxy.url } }));
  return { proxy, service, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Makes all calls at once, each of which is to be refused, and answers how long the slowest took. */
async function msToRefuseAll(service: TestService): Promise<number> {
  const begun = performance.now();
  const replies = await Promise.all(
    callsOf(service.org.secret).map(async ([method, path, body]) => ({
      path,
      reply: await service.org.rest(method, path, body),
    })),
  );
  for (const { path, reply } of replies) {
    expect([path, reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([
      path,
      503,
      "DATABASE_UNAVAILABLE",
    ]);
    expect(reply.headers.get("retry-after")).toBe("1");
  }
  return performance.now() - begun;
}

describe("without its database the service answers every call with 503 within 6 s, and recovers within 5", () => {
  type Proxy = Awaited<ReturnType<typeof startProxy>>;
  const outages: readonly (readonly [string, (proxy: Proxy) => Promise<void>])[] = [
    ["refuses connections", (proxy) => proxy.close()],
    ["answers nothing any more", async (proxy) => proxy.blackHole()],
  ];

  test.each(outages)("when it %s", async (_, breakDown) => {
    await using started = await startBehindProxy();
    const { proxy, service } = started;
    expect((await service.org.rest("GET", "/api/auth/me")).status).toBe(200);
    await breakDown(proxy);
    // The key is remembered, so the calls get as far as their own operations, of which some do several in a row.
    expect(await msToRefuseAll(service)).toBeLessThan(6_000);
    // It may be remembered no longer than this.
    service.clock.advance(5_000);
    expect(await msToRefuseAll(service)).toBeLessThan(6_000);
    await expect(service.org.client.apiKeys.whoAmI({})).rejects.toMatchObject({ code: Code.Unavailable });

    await proxy.close();
    await proxy.reopen();
    const backAt = performance.now();
    await vi.waitUntil(async () => (await service.org.rest("GET", "/api/auth/me")).status === 200, {
      timeout: 50_000,
    });
    expect(performance.now() - backAt).toBeLessThan(5_000);
    expect((await service.org.rest("GET", "/api/service-connections")).status).toBe(200);
  });

  test("a firewall that forgot its connections costs one wait, and not one for each of them", async () => {
    await using started = await startBehindProxy();
    const { proxy, service } = started;
    const list = async () => (await service.org.rest("GET", "/api/service-connections")).status;
    await Promise.all([list(), list(), list()]);
    proxy.freeze();
    const begun = performance.now();
    await list();
    expect(performance.now() - begun).toBeLessThan(6_000);
    expect(await Promise.all([list(), list(), list()])).toStrictEqual([200, 200, 200]);
  });
});
