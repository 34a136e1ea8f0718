import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { look, spend, type Budget, type Debt, type RateLimit } from "#src/ratelimit/gcra.ts";

const start = Date.UTC(2026, 0, 1);

const rates = fc.record({
  limit: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100_000 })),
  windowMs: fc.constantFrom(1_000, 60_000, 86_400_000),
});

/** A rate small enough to be reached, and when somebody calls, in order. */
const histories = fc
  .record({ limit: fc.integer({ min: 1, max: 12 }), windowMs: fc.integer({ min: 1, max: 2_000 }) })
  .chain((rate) =>
    fc.record({
      rate: fc.constant(rate),
      times: fc
        .array(fc.integer({ min: 0, max: rate.windowMs }), { maxLength: 80 })
        .map((gaps) => gaps.map((gap) => (gap * 3) / rate.limit).map(Math.floor))
        .map((gaps) => gaps.reduce<number[]>((times, gap) => [...times, (times.at(-1) ?? start) + gap], [])),
    }),
  );

/** One name's budget, as a limiter keeps it. */
function account(rate: RateLimit) {
  let debt: Debt | undefined;
  return {
    spend(now: number, by = rate, alreadyMade?: number): Budget {
      const spent = spend(by, debt, now, alreadyMade);
      ({ debt } = spent);
      return spent.budget;
    },
    look: (now: number, by = rate) => look(by, debt, now),
  };
}

test("who stays within the limit in every window is never refused", () => {
  fc.assert(
    fc.property(histories, ({ rate, times }) => {
      const { spend: call } = account(rate);
      const legal: number[] = [];
      for (const time of times) {
        if (legal.filter((earlier) => earlier > time - rate.windowMs).length < rate.limit) legal.push(time);
      }
      for (const time of legal) expect(call(time).allowed).toBe(true);
    }),
  );
});

test("a steady rate is never refused, whatever was spent at once before it", () => {
  fc.assert(
    fc.property(
      rates.filter(({ limit }) => limit <= 2_000),
      (rate) => {
        const { spend: call } = account(rate);
        for (let i = 0; i < rate.limit; i++) expect(call(start).allowed).toBe(true);
        expect(call(start).allowed).toBe(false);
        for (let i = 1; i <= 50; i++) {
          expect(call(start + Math.ceil((i * rate.windowMs) / rate.limit)).allowed).toBe(true);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("in no span of time are more let through than the limit and one for each interval", () => {
  fc.assert(
    fc.property(histories, ({ rate, times }) => {
      const { spend: call } = account(rate);
      const passed = times.filter((time) => call(time).allowed);
      for (const [i, from] of passed.entries()) {
        for (const [j, to] of passed.entries()) {
          if (j < i) continue;
          expect((j - i + 1 - rate.limit) * rate.windowMs).toBeLessThanOrEqual((to - from) * rate.limit);
        }
      }
    }),
  );
});

test("as many as remain are let through at once, and not one more", () => {
  fc.assert(
    fc.property(histories, ({ rate, times }) => {
      const one = account(rate);
      for (const time of times) one.spend(time);
      const now = times.at(-1) ?? start;
      const { remaining } = one.look(now);
      for (let left = remaining; left > 0; left--) {
        expect(one.spend(now)).toMatchObject({ allowed: true, remaining: left - 1 });
      }
      expect(one.look(now)).toMatchObject({ allowed: false, remaining: 0 });
      expect(one.spend(now)).toMatchObject({ allowed: false, remaining: 0 });
    }),
  );
});

test("one more is let through once retryAfterMs has passed, and none before", () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: 5_000 }), (rate, elapsed) => {
      const one = account({ ...rate, limit: Math.min(rate.limit, 500) });
      let budget = one.spend(start);
      while (budget.allowed) budget = one.spend(start);
      const refused = one.spend(start + elapsed);
      fc.pre(!refused.allowed);
      expect(refused.retryAfterMs).toBeGreaterThan(0);
      const free = start + elapsed + Math.ceil(refused.retryAfterMs);
      expect(one.look(free - 1).allowed).toBe(false);
      expect(one.look(free).allowed).toBe(true);
      expect(one.spend(free).allowed).toBe(true);
    }),
  );
});

test("the whole limit is there again once resetMs has passed, and not before", () => {
  fc.assert(
    fc.property(histories, ({ rate, times }) => {
      const one = account(rate);
      for (const time of times) one.spend(time);
      const now = times.at(-1) ?? start;
      const { resetMs } = one.look(now);
      expect(resetMs).toBeLessThanOrEqual(rate.windowMs);
      const full = now + Math.ceil(resetMs);
      expect(one.look(full)).toStrictEqual({
        allowed: true,
        remaining: rate.limit,
        resetMs: 0,
        retryAfterMs: 0,
      });
      if (resetMs > 0) expect(one.look(full - 1).remaining).toBeLessThan(rate.limit);
    }),
  );
});

test("a refusal costs nothing: who hammers is let in as soon as who waits", () => {
  const rate = { limit: 3, windowMs: 60_000 };
  const one = account(rate);
  for (let i = 0; i < 3; i++) one.spend(start);
  for (let elapsed = 0; elapsed < 20_000; elapsed += 100) {
    expect(one.spend(start + elapsed).allowed).toBe(false);
  }
  expect(one.spend(start + 20_000).allowed).toBe(true);
});

describe("a clock that is set back", () => {
  const rate = { limit: 2, windowMs: 60_000 };

  test("gives nothing back, and keeps nobody waiting until it has caught up", () => {
    const one = account(rate);
    one.spend(start);
    one.spend(start);
    const earlier = start - 3_600_000;
    expect(one.spend(earlier)).toMatchObject({ allowed: false, retryAfterMs: 30_000 });
    expect(one.spend(earlier + 30_000).allowed).toBe(true);
  });
});

test("what was spent stays spent when the limit changes", () => {
  const one = account({ limit: 10, windowMs: 60_000 });
  for (let i = 0; i < 8; i++) one.spend(start);
  expect(one.look(start, { limit: 100, windowMs: 60_000 }).remaining).toBe(92);
  expect(one.look(start, { limit: 5, windowMs: 60_000 })).toMatchObject({
    allowed: false,
    remaining: 0,
    retryAfterMs: 48_000,
  });
});

describe("requests that were already made elsewhere", () => {
  const atOneMoment = fc.record({ history: histories, made: fc.nat({ max: 14 }) });

  test("cost what they would have cost here, as far as the limit goes", () => {
    fc.assert(
      fc.property(atOneMoment, ({ history: { rate, times }, made }) => {
        const [elsewhere, here] = [account(rate), account(rate)];
        for (const time of times) for (const one of [elsewhere, here]) one.spend(time);
        const now = times.at(-1) ?? start;
        fc.pre(made <= here.look(now).remaining);
        for (let i = 0; i < made; i++) here.spend(now);
        expect(elsewhere.spend(now, rate, made)).toStrictEqual(here.spend(now));
      }),
    );
  });

  test("are owed for a window beyond the limit at most, however many are reported", () => {
    fc.assert(
      fc.property(rates, fc.maxSafeNat(), fc.nat({ max: 5 }), (rate, more, times) => {
        const one = account(rate);
        const made = Math.min(rate.limit + more, Number.MAX_SAFE_INTEGER);
        for (let i = 0; i <= times; i++) {
          const beyond = i === 0 ? 0 : rate.windowMs;
          expect(one.spend(start, rate, made)).toStrictEqual({
            allowed: false,
            remaining: 0,
            resetMs: rate.windowMs + beyond,
            retryAfterMs: rate.windowMs / rate.limit + beyond,
          });
        }
        expect(one.spend(start + rate.windowMs + Math.ceil(rate.windowMs / rate.limit)).allowed).toBe(true);
      }),
    );
  });

  test("stay charged when the request beside them is refused", () => {
    const one = account({ limit: 3, windowMs: 60_000 });
    expect(one.spend(start, undefined, 3)).toMatchObject({ allowed: false, retryAfterMs: 20_000 });
    expect(one.look(start)).toMatchObject({ allowed: false, resetMs: 60_000 });
  });

  test("give nothing back of a debt from under a higher limit", () => {
    const low = { limit: 2, windowMs: 60_000 };
    const one = account({ limit: 10, windowMs: 60_000 });
    for (let i = 0; i < 8; i++) one.spend(start);
    expect(one.spend(start, low, 3)).toMatchObject({ allowed: false, retryAfterMs: 210_000 });
  });
});
