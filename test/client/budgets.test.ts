import fc from "fast-check";
import { expect, test } from "vitest";
import { type Charge, createBudgets, takeOne } from "#src/client/guard/budgets.ts";
import { type Debt, spend } from "#src/ratelimit/gcra.ts";

const rate = { limit: 20, windowMs: 60_000 };
const capacity = rate.limit * rate.windowMs;

/** A question of the guard, on its way to Patchbay or back. */
interface Travelling {
  readonly charge: Charge;
  answer?: { readonly remaining: number | undefined };
}

type Step =
  | { readonly do: "ask"; readonly secret: string }
  | { readonly do: "serve"; readonly times: number }
  | { readonly do: "wait"; readonly ms: number }
  | {
      readonly do: "reach Patchbay" | "be refused unseen" | "come back" | "get lost";
      readonly which: number;
    };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("ask"), secret: fc.constantFrom("old", "new") }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("serve"), times: fc.integer({ min: 1, max: 25 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait"), ms: fc.integer({ min: 1, max: 9_000 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("reach Patchbay"), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("be refused unseen"), which: fc.nat() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("come back"), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("get lost"), which: fc.nat() }) },
);
const histories = fc.array(step, { minLength: 20, maxLength: 200, size: "max" });

/** Plays the guard and Patchbay, and says what is owed for all that was let in: `units` as the limiter counts. */
function play(steps: readonly Step[], letIn: (by: "guard" | "Patchbay", owedUnits: number) => void): void {
  const budgets = createBudgets();
  // The guard learns with the first answer to each that both are secrets of one key.
  for (const secret of ["old", "new"]) budgets.answered(budgets.asking(secret), "key", 0);
  const onTheirWay: Travelling[] = [];
  let now = 0;
  let atPatchbay: Debt | undefined;
  let owed: Debt = { at: 0, units: 0 };

  function count(by: "guard" | "Patchbay"): void {
    const forgiven = (now - owed.at) * rate.limit;
    const units = Math.max(0, owed.units - forgiven) + rate.windowMs;
    letIn(by, units);
    // Questions that overtake each other may get more from Patchbay than the limit; it charges no more than that.
    owed = { at: now, units: Math.min(units, capacity) };
  }

  function one(which: number, isCandidate: (travelling: Travelling) => boolean): Travelling | undefined {
    const candidates = onTheirWay.filter(isCandidate);
    return candidates[which % candidates.length];
  }

  for (const step of steps) {
    switch (step.do) {
      case "ask":
        onTheirWay.push({ charge: budgets.asking(step.secret) });
        break;
      case "serve":
        for (let i = 0; i < step.times && takeOne(budgets.of("old")!); i++) count("guard");
        break;
      case "wait":
        now += step.ms;
        break;
      case "reach Patchbay": {
        const found = one(step.which, ({ answer }) => answer === undefined);
        if (found === undefined) break;
        const { debt, budget } = spend(rate, atPatchbay, now, found.charge.alreadyMade);
        atPatchbay = debt;
        if (budget.allowed) count("Patchbay");
        found.answer = { remaining: budget.remaining };
        break;
      }
      case "be refused unseen": {
        // As for an address that is not on the key's list, which is looked at before the budget.
        const found = one(step.which, ({ answer }) => answer === undefined);
        if (found !== undefined) found.answer = { remaining: undefined };
        break;
      }
      case "come back": {
        const found = one(step.which, ({ answer }) => answer !== undefined);
        if (found?.answer === undefined) break;
        onTheirWay.splice(onTheirWay.indexOf(found), 1);
        budgets.answered(found.charge, "key", found.answer.remaining);
        break;
      }
      case "get lost": {
        const found = one(step.which, () => true);
        if (found === undefined) break;
        onTheirWay.splice(onTheirWay.indexOf(found), 1);
        budgets.failed(found.charge);
        break;
      }
    }
  }
}

test("whatever becomes of its questions, a guard lets in nobody beyond the key's limit without asking", () => {
  fc.assert(
    fc.property(histories, (steps) => {
      play(steps, (by, owedUnits) => {
        if (by === "guard") expect(owedUnits).toBeLessThanOrEqual(capacity);
      });
    }),
    { numRuns: 500 },
  );
});

test("while questions are answered in their order, guard and Patchbay together stay within the limit", () => {
  const inOrder = histories.map((steps) =>
    steps
      .filter((step) => step.do !== "get lost" && step.do !== "be refused unseen")
      .map((step) => ("which" in step ? { ...step, which: 0 } : step)),
  );
  fc.assert(
    fc.property(inOrder, (steps) => {
      play(steps, (_by, owedUnits) => expect(owedUnits).toBeLessThanOrEqual(capacity));
    }),
    { numRuns: 500 },
  );
});

test("a count that Patchbay did not hear of is reported again, and one that it heard of is not", () => {
  const budgets = createBudgets();
  budgets.answered(budgets.asking("secret"), "key", 10);
  const budget = budgets.of("secret")!;
  expect([takeOne(budget), takeOne(budget)]).toEqual([true, true]);

  const lost = budgets.asking("secret");
  expect(lost.alreadyMade).toBe(2);
  budgets.failed(lost);
  const refusedBefore = budgets.asking("secret");
  expect(refusedBefore.alreadyMade).toBe(2);
  budgets.answered(refusedBefore, "key", undefined);
  const heard = budgets.asking("secret");
  expect(heard.alreadyMade).toBe(2);
  budgets.answered(heard, "key", 7);
  expect(budgets.asking("secret").alreadyMade).toBe(0);
});

test("the secrets of a key share its budget from the first answer on, with what is still under way", () => {
  const budgets = createBudgets();
  const budget = budgets.answered(budgets.asking("old"), "key", 10);
  const [first, second, third] = [budgets.asking("new"), budgets.asking("new"), budgets.asking("new")];
  expect(budgets.answered(first, "key", 9)).toBe(budget);
  expect(budgets.of("new")).toBe(budget);
  expect(budget.left).toBe(7);
  budgets.failed(second);
  // Somebody else used the rest.
  expect(budgets.answered(third, "key", 1)).toBe(budget);
  expect(budget.left).toBe(1);
  const next = budgets.asking("new");
  budgets.answered(next, "key", 5);
  expect(budget.left).toBe(5);
});

test("20,000 questions of one key on their way at once are no work for whoever takes in the answers", () => {
  const budgets = createBudgets();
  const asked = Array.from({ length: 20_000 }, () => budgets.asking("secret"));
  const started = performance.now();
  for (const one of asked) budgets.answered(one, "key", 100_000);
  // Quadratic, it would take minutes.
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(budgets.of("secret")!.left).toBe(100_000 - 19_999);
});

test("made-up secrets leave nothing behind", () => {
  const budgets = createBudgets();
  const refused = budgets.asking("made up");
  budgets.answered(refused, "", undefined);
  const lost = budgets.asking("made up");
  budgets.failed(lost);
  expect(budgets.asking("made up").budget).not.toBe(lost.budget);
  expect(lost.budget).not.toBe(refused.budget);
  expect(budgets.of("made up")).toBeUndefined();
});
