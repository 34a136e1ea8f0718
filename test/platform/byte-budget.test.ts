import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createByteBudget, Overloaded } from "#src/platform/byte-budget.ts";

const mebibyte = 1024 * 1024;

function budgetOf(totalBytes: number) {
  const clock = { now: 0 };
  return { clock, budget: createByteBudget(totalBytes, () => clock.now) };
}

describe("a budget", () => {
  test("lets one organisation hold half of it, and others what is left", () => {
    const { budget } = budgetOf(100);
    budget.open(() => "a").grow(50);
    const more = budget.open(() => "a");
    expect(() => more.grow(1)).toThrow(/^your organisation has too many bytes/);
    budget.open(() => "b").grow(40);
    budget.open(() => "c").grow(10);
    expect(() => budget.open(() => "d").grow(1)).toThrow(/^the service has too many bytes/);
  });

  test("gives back what a call held, also when it goes on after its end", () => {
    const { budget } = budgetOf(100);
    const call = budget.open(() => "a");
    call.grow(50);
    call.release();
    call.grow(50);
    call.become(50);
    call.waitForReader(() => expect.unreachable());
    call.release();
    budget.open(() => "a").grow(50);
  });

  test("cuts what waits longest for its reader, as much as is needed, and nothing that was just sent", () => {
    const { clock, budget } = budgetOf(100);
    const cut: string[] = [];
    for (const name of ["first", "second", "third"]) {
      const answer = budget.open(() => "a");
      answer.grow(15);
      answer.waitForReader(() => cut.push(name));
      clock.now += 600;
    }
    const next = budget.open(() => "a");
    next.grow(20);
    expect(cut).toStrictEqual(["first"]);
    next.grow(10);
    expect(cut).toStrictEqual(["first", "second"]);
    expect(() => next.grow(10)).toThrow(Overloaded);
    clock.now += 600;
    next.grow(10);
    expect(cut).toStrictEqual(["first", "second", "third"]);
  });

  test("refuses no answer that is there, and makes room for it like for any other bytes", () => {
    const { clock, budget } = budgetOf(100);
    const cut: string[] = [];
    const waiting = budget.open(() => "a");
    waiting.grow(30);
    waiting.waitForReader(() => cut.push("waiting"));
    budget.open(() => "a").grow(20);
    budget.open(() => "a").become(10);
    expect(cut).toStrictEqual([]);
    clock.now += 1_000;
    budget.open(() => "a").become(10);
    expect(cut).toStrictEqual(["waiting"]);
    expect(() => budget.open(() => "a").grow(11)).toThrow(Overloaded);
    budget.open(() => "a").grow(10);
  });

  test("never cuts another organisation's answers to make room in one that has used up its half", () => {
    const { clock, budget } = budgetOf(100);
    const theirs = budget.open(() => "b");
    theirs.grow(40);
    theirs.waitForReader(() => expect.unreachable());
    clock.now += 10_000;
    budget.open(() => "a").grow(50);
    expect(() => budget.open(() => "a").grow(10)).toThrow(Overloaded);
  });

  test("makes room for all from the one that holds the most", () => {
    const { clock, budget } = budgetOf(100);
    const cut: string[] = [];
    for (const [owner, bytes] of [
      ["small", 30],
      ["large", 50],
      ["other", 20],
    ] as const) {
      const answer = budget.open(() => owner);
      answer.grow(bytes);
      answer.waitForReader(() => cut.push(owner));
    }
    clock.now += 10_000;
    budget.open(() => "new").grow(10);
    expect(cut).toStrictEqual(["large"]);
  });

  test("is exceeded by no bytes that may be refused, whatever calls do in whatever order", () => {
    const step = fc.record({
      call: fc.nat(9),
      owner: fc.constantFrom("a", "b", "c"),
      what: fc.constantFrom("grow", "become", "wait", "release"),
      bytes: fc.integer({ min: 0, max: 40 }),
      later: fc.nat(1_500),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { clock, budget } = budgetOf(100);
        const held = new Map<
          number,
          { owner: string; bytes: number; holding: ReturnType<typeof budget.open> }
        >();
        for (const { call, owner, what, bytes, later } of steps) {
          clock.now += later;
          const known = held.get(call) ?? { owner, bytes: 0, holding: budget.open(() => owner) };
          held.set(call, known);
          if (what === "wait") known.holding.waitForReader(() => void (known.bytes = 0));
          if (what === "release" || (what === "become" && bytes <= known.bytes)) {
            if (what === "release") known.holding.release();
            else known.holding.become(bytes);
            if (what === "release") held.delete(call);
            else known.bytes = bytes;
          }
          if (what !== "grow") continue;
          try {
            known.holding.grow(bytes);
            known.bytes += bytes;
          } catch (error) {
            expect(error).toBeInstanceOf(Overloaded);
          }
          const all = [...held.values()];
          const sum = (of: typeof all) => of.reduce((total, one) => total + one.bytes, 0);
          expect(sum(all)).toBeLessThanOrEqual(100);
          expect(sum(all.filter((one) => one.owner === known.owner))).toBeLessThanOrEqual(50);
        }
      }),
    );
  });
});

test("an organisation's own budget holds the largest answer there is", () => {
  const { budget } = budgetOf(64 * mebibyte);
  budget.open(() => "a").grow(32 * mebibyte);
});
