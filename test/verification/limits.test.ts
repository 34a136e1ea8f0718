import { expect, test } from "vitest";
import { InvalidBearer, KeyExpired, WrongEnvironment } from "#src/verification/errors.ts";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { createLimits } from "#src/verification/limits.ts";

const key = { orgId: "org_1", id: "key_1", rateLimitPerMinute: undefined };

function limitsOf(failuresPerMinute: number) {
  const clock = { now: new Date(0) };
  const limiter = () => createRateLimiter(() => clock.now);
  const perMinute = {
    rateLimitPerMinute: 3,
    maxRateLimitPerMinute: 3,
    failedAuthenticationsPerMinute: failuresPerMinute,
  };
  const limits = createLimits({ calls: limiter(), failures: limiter(), perMinute });
  /** Presents what is not remembered, and so has to be looked up. */
  const attempt = (address: string, outcome: typeof key | Error) =>
    limits.limitFailures(clientNameOf(address), async (beforeGuess) => {
      await beforeGuess();
      if (outcome instanceof Error) throw outcome;
      return outcome;
    });
  return { clock, limits, attempt };
}

test.each([
  ["is unknown", () => new InvalidBearer("unknown")],
  ["is expired", () => new KeyExpired()],
  ["is of the other environment", () => new WrongEnvironment("sandbox", "live")],
])(
  "an address is refused after too many keys of which each %s, and no other address is",
  async (_, refusal) => {
    const { clock, attempt } = limitsOf(3);
    for (let i = 0; i < 3; i++)
      await expect(attempt("203.0.113.7", refusal())).rejects.not.toThrow(/rate limit/);
    // A good key would do no harm, but only a look-up would tell.
    await expect(attempt("203.0.113.7", key)).rejects.toThrow(/^rate limit exceeded$/);
    await expect(attempt("::ffff:203.0.113.7", key)).rejects.toThrow(/^rate limit exceeded$/);
    await expect(attempt("203.0.113.8", key)).resolves.toBe(key);
    clock.now = new Date(20_000);
    await expect(attempt("203.0.113.7", key)).resolves.toBe(key);
  },
);

test("the addresses of one IPv6 subscriber count as one", async () => {
  const { attempt } = limitsOf(2);
  await expect(attempt("2001:db8::1", new InvalidBearer("unknown"))).rejects.toThrow(/Bearer/);
  await expect(attempt("2001:db8::2", new InvalidBearer("unknown"))).rejects.toThrow(/Bearer/);
  await expect(attempt("2001:db8::3", key)).rejects.toThrow(/^rate limit exceeded$/);
  await expect(attempt("2001:db8:0:1::3", key)).resolves.toBe(key);
});

test("neither a success nor a database that is down counts as a failure of the address", async () => {
  const { attempt } = limitsOf(1);
  for (let i = 0; i < 5; i++) await attempt("203.0.113.7", key);
  for (let i = 0; i < 5; i++) {
    const down = DatabaseUnavailable.unreachable(new Error("gone"));
    await expect(attempt("203.0.113.7", down)).rejects.toThrow(down.message);
  }
  await expect(attempt("203.0.113.7", key)).resolves.toBe(key);
});

test("for a refused address nothing is looked up, and what is known gets in without", async () => {
  const { limits, attempt } = limitsOf(1);
  await expect(attempt("203.0.113.7", new InvalidBearer("unknown"))).rejects.toThrow(/Bearer/);
  let lookUps = 0;
  const unknown = limits.limitFailures("203.0.113.7", async (beforeGuess) => {
    await beforeGuess();
    lookUps++;
    return key;
  });
  await expect(unknown).rejects.toThrow(/^rate limit exceeded$/);
  expect(lookUps).toBe(0);
  await expect(limits.limitFailures("203.0.113.7", async () => key)).resolves.toBe(key);
});

test("a refused address is told so even where nothing has to be looked up", async () => {
  const { limits } = limitsOf(1);
  const malformed = () =>
    limits.limitFailures("203.0.113.7", async () => {
      throw new InvalidBearer("malformed");
    });
  await expect(malformed()).rejects.toThrow(/Bearer/);
  await expect(malformed()).rejects.toThrow(/^rate limit exceeded$/);
});
