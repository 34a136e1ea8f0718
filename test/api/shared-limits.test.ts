import { randomBytes } from "node:crypto";
import { beforeEach, expect, test, vi } from "vitest";
import { missingRedis, startRedis } from "../support/redis.ts";
import { startService, type Presenter } from "../support/service.ts";

beforeEach(({ skip }) => skip(missingRedis !== undefined, missingRedis));

/** How many of the calls were let through, one after the other. */
async function letThrough(callers: readonly Presenter[]): Promise<number> {
  let allowed = 0;
  for (const caller of callers) {
    const { status } = await caller.rest("GET", "/api/auth/me");
    if (status === 200) allowed++;
    else expect(status).toBe(429);
  }
  return allowed;
}

test("replicas share the budget of a key to its last call, and each goes on by itself without the server", async () => {
  await using redis = await startRedis();
  const rootKey = randomBytes(32).toString("base64");
  await using one = await startService({ rootKey, rateLimitUrl: redis.url });
  await using other = await startService({ rootKey, rateLimitUrl: redis.url, postgres: one.postgres });
  const { port } = await one.app.listenForMetrics("127.0.0.1", 0);
  const issued = await one.org.client.apiKeys.createApiKey({
    name: "job",
    scopes: ["a:view"],
    rateLimitPerMinute: 7,
  });
  const [here, there] = [one.as(issued.secret), other.as(issued.secret)];

  expect(await letThrough([here, there, here, there, here, there])).toBe(6);
  const last = await there.rest("GET", "/api/auth/me");
  expect(last.headers.get("ratelimit")).toMatch(/^"default";r=0;t=(59|60)$/);
  const refused = await here.rest("GET", "/api/auth/me");
  expect([refused.status, refused.body]).toStrictEqual([429, { error: "rate limit exceeded" }]);
  expect(await letThrough([here, there, here, there])).toBe(0);

  await redis.kill();
  // Each goes by what it let through itself: three here, four there, of seven.
  expect(await letThrough(Array(10).fill(here))).toBe(4);
  expect(await letThrough(Array(10).fill(there))).toBe(3);
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toContain("patchbay_rate_limit_fallbacks_total 10\n");

  await redis.restart();
  for (const service of [one, other]) {
    await vi.waitUntil(() => service.logged().includes("rate limits are shared again"), { timeout: 50_000 });
  }
  expect(await letThrough([here, there, here, there, here, there, here, there, here])).toBe(7);
});
