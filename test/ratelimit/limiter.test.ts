import { expect, test } from "vitest";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";

const rate = { limit: 2, windowMs: 60_000 };

function limiterAt() {
  const clock = { now: new Date(0) };
  return { clock, limiter: createRateLimiter(() => clock.now) };
}

test("each name has a budget of its own, which comes back with time", async () => {
  const { clock, limiter } = limiterAt();
  const spend = async (name: string) => (await limiter.spend(name, rate)).allowed;
  expect([await spend("a"), await spend("a"), await spend("a")]).toStrictEqual([true, true, false]);
  expect(await spend("b")).toBe(true);
  clock.now = new Date(30_000);
  expect([await spend("a"), await spend("a")]).toStrictEqual([true, false]);
});

test("requests that were made elsewhere are charged to the name as well", async () => {
  const { limiter } = limiterAt();
  const five = { limit: 5, windowMs: 60_000 };
  expect(await limiter.spend("a", five, 3)).toMatchObject({ allowed: true, remaining: 1 });
  expect(await limiter.spend("a", five, 1)).toMatchObject({ allowed: false, remaining: 0 });
  expect(limiter.look("b", five).remaining).toBe(5);
});

test("a look takes nothing", () => {
  const { limiter } = limiterAt();
  for (let i = 0; i < 5; i++) expect(limiter.look("a", rate)).toMatchObject({ allowed: true, remaining: 2 });
});

test("a flood of names takes no more memory, and makes nobody forgotten who keeps calling", async () => {
  const { limiter } = limiterAt();
  const quiet = await limiter.spend("quiet", rate);
  expect(quiet.remaining).toBe(1);
  await limiter.spend("busy", rate);
  await limiter.spend("busy", rate);
  for (let i = 0; i < 70_000; i++) {
    await limiter.spend(`flood ${i}`, rate);
    if (i % 30_000 === 0) expect((await limiter.spend("busy", rate)).allowed).toBe(false);
  }
  expect(limiter.look("busy", rate).allowed).toBe(false);
  expect(limiter.look("quiet", rate).remaining).toBe(2);
});

test.each([
  [1, "1"],
  [999.5, "1"],
  [1_000, "1"],
  [1_000.1, "2"],
  [59_001, "60"],
])("a wait of %d ms is announced as %s seconds", (retryAfterMs, seconds) => {
  expect(new RateLimited({ retryAfterMs }).headers).toStrictEqual({ "retry-after": seconds });
});

test.each([
  ["203.0.113.7", "203.0.113.7"],
  ["::ffff:203.0.113.7", "203.0.113.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::1", "2001:db8:1:2::/64"],
  ["::1", "0:0:0:0::/64"],
  [undefined, "unknown"],
])("the client address %s is counted as %s", (address, name) => {
  expect(clientNameOf(address)).toBe(name);
});
