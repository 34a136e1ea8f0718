import fc from "fast-check";
import { expect, test } from "vitest";
import { failuresAfter, pauseBefore, type Life } from "#src/workers/restarts.ts";

const early = fc.record({ listened: fc.boolean(), livedMs: fc.integer({ min: 0, max: 9_999 }) });
const neverListened = fc.record({ listened: fc.constant(false), livedMs: fc.integer({ min: 0 }) });

function failuresOf(lives: readonly Life[]): number {
  return lives.reduce(failuresAfter, 0);
}

test("workers that end early, or before they take connections, count in a row", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(early, neverListened)), (lives) => {
      expect(failuresOf(lives)).toBe(lives.length);
    }),
  );
});

test("one that served for a while ends the row", () => {
  const proven: Life = { listened: true, livedMs: 10_000 };
  fc.assert(
    fc.property(fc.array(fc.oneof(early, neverListened)), (lives) => {
      expect(failuresOf([...lives, proven])).toBe(0);
    }),
  );
});

test("the next worker after a single death is started at once; then each waits longer, up to ten seconds", () => {
  const pauses = Array.from({ length: 12 }, (_, failures) => pauseBefore(failures));
  expect(pauses).toStrictEqual([0, 0, 250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000]);
  expect(pauseBefore(1_000_000)).toBe(10_000);
});
