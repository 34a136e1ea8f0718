import fc from "fast-check";
import { expect, test } from "vitest";
import { createTally } from "#src/platform/tally.ts";

test("a tally knows the sum of each name, and forgets a name of which nothing is left", () => {
  const names = fc.constantFrom("a", "b", "__proto__");
  const entries = fc.array(fc.record({ name: names, amount: fc.integer({ min: 0, max: 3 }) }));
  fc.assert(
    fc.property(entries, (entries) => {
      const tally = createTally();
      for (const { name, amount } of entries) tally.add(name, amount);
      const sums = [...tally.entries()];
      for (const name of ["a", "b", "__proto__"]) {
        const own = entries.filter((entry) => entry.name === name).map(({ amount }) => amount);
        expect(tally.of(name)).toBe(own.reduce((sum, amount) => sum + amount, 0));
      }
      expect(sums.every(([name, sum]) => sum === tally.of(name) && sum > 0)).toBe(true);
      for (const { name, amount } of entries) tally.add(name, -amount);
      expect([...tally.entries()]).toStrictEqual([]);
    }),
  );
});
