import fc from "fast-check";
import { expect, test } from "vitest";
import { Needles } from "#src/outbound/needles.ts";

const letters = (minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength, maxLength });

test("a part of a text has one of the needles in it exactly if a search for each of them finds it", () => {
  const cases = fc.record({
    needles: fc.array(letters(2, 6), { minLength: 1, maxLength: 5 }),
    text: letters(0, 40),
    from: fc.nat(40),
    to: fc.nat(40),
  });
  fc.assert(
    fc.property(cases, ({ needles, text, from, to }) => {
      const part = text.slice(from, Math.min(to, text.length));
      expect(new Needles(needles).areIn(Buffer.from(text), from, Math.min(to, text.length))).toBe(
        needles.some((needle) => part.includes(needle)),
      );
    }),
    { numRuns: 1_000 },
  );
});
