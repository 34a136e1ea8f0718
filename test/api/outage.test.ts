import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService } from "../support/service.ts";

test("without its database the service answers 503 within 6 s, and recovers within 5 s by itself", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  expect((await service.org.rest("GET", "/api/auth/me")).status).toBe(200);

  for (const breakDown of [() => proxy.close(), async () => proxy.freeze()]) {
    await breakDown();
    const brokenAt = performance.now();
    const reply = await service.org.rest("GET", "/api/service-connections");
    expect(performance.now() - brokenAt).toBeLessThan(6_000);
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([503, "DATABASE_UNAVAILABLE"]);
    await proxy.close();
    // The key may be remembered, and no longer than this.
    service.clock.advance(5_000);
    await expect(service.org.client.apiKeys.whoAmI({})).rejects.toMatchObject({ code: Code.Unavailable });
    await proxy.reopen();
    const backAt = performance.now();
    await vi.waitUntil(async () => (await service.org.rest("GET", "/api/auth/me")).status === 200, {
      timeout: 5_000,
    });
    expect(performance.now() - backAt).toBeLessThan(5_000);
  }
});
