import fc from "fast-check";
import { expect, test } from "vitest";
import { acceptedOf } from "#src/pipeline/accept-encoding.ts";

const known = ["gzip", "br"];

test.each<[string, string | undefined, boolean]>([
  ["", undefined, true],
  ["gzip", "gzip", true],
  ["br", "br", true],
  ["deflate, zstd", undefined, true],
  ["gzip, deflate, br", "gzip", true],
  ["br, gzip", "br", true],
  ["gzip;q=0.5, br;q=0.8", "br", true],
  ["gzip;q=0, br", "br", true],
  ["gzip;q=0.000", undefined, true],
  ["*", "gzip", true],
  ["gzip;q=0, *", "br", true],
  ["br, *;q=0", "br", false],
  ["*;q=0", undefined, false],
  ["identity;q=0", undefined, false],
  ["identity;q=0, gzip;q=0.001", "gzip", false],
  ["identity, gzip;q=0.5", undefined, true],
  ["identity, deflate, gzip", "gzip", true],
  ["*;q=0, identity", undefined, true],
  ["GZip ; Q=0.3", "gzip", true],
  ["x-gzip", "gzip", true],
  ["gzip;q=2, br;q=0.1", "br", true],
  ["gzip;q=0.1234", undefined, true],
  ["gzip;level=9, ,;, br q=1", undefined, true],
])("%j leaves the coding %s, and an answer without one: %s", (header, coding, plain) => {
  expect(acceptedOf(header, known)).toEqual({ coding, plain });
});

const names = fc.constantFrom("gzip", "br", "identity", "*", "deflate", "x-gzip");
const weights = fc.constantFrom(0, 0.001, 0.2, 0.5, 0.75, 1);
const entries = fc.array(fc.record({ name: names, weight: weights }), { maxLength: 6 });
type Entry = { readonly name: string; readonly weight: number };

const spaces = fc.constantFrom("", " ", "\t", "  ");
const malformed = fc.constantFrom(
  "",
  "gzip;q=",
  "br;q=1.5",
  "br;q=-1",
  "gzip;q=.5",
  "a b",
  "gzip;x=1",
  ";q=1",
);
/** Ways to write an entry, behind what means nothing. */
const spelling = fc.record({
  noise: fc.array(malformed, { maxLength: 2 }),
  space: spaces,
  upper: fc.boolean(),
  long: fc.boolean(),
});
type Spelling = typeof spelling extends fc.Arbitrary<infer T> ? T : never;

function written({ name, weight }: Entry, { noise, space, upper, long }: Spelling): string {
  const q = long ? weight.toFixed(3) : String(weight);
  const text = `${space}${name}${weight === 1 && !long ? "" : `${space};${space}q=${q}`}${space}`;
  return [...noise, upper ? text.toUpperCase() : text].join();
}

/** The weight that the rules give to a coding: that of its own first entry, or else of the first `*`. */
function weightIn(list: readonly Entry[], coding: string): number | undefined {
  const isOwn = ({ name }: Entry) => name === coding || (name === "x-gzip" && coding === "gzip");
  return (list.find(isOwn) ?? list.find(({ name }) => name === "*"))?.weight;
}

test("however it is written, the choice is a coding of the greatest weight, and none only where that is right", () => {
  const spelled = entries.chain((list) =>
    fc.tuple(fc.constant(list), fc.array(spelling, { minLength: list.length, maxLength: list.length })),
  );
  fc.assert(
    fc.property(spelled, ([list, spellings]) => {
      const header = list.map((entry, at) => written(entry, spellings[at]!)).join();
      const { coding, plain } = acceptedOf(header, known);
      const identity = weightIn(list, "identity");
      const greatest = Math.max(...known.map((name) => weightIn(list, name) ?? 0));
      expect(plain).toBe(identity !== 0);
      if (coding === undefined) expect(greatest === 0 || greatest < (identity ?? 0)).toBe(true);
      else {
        expect(known).toContain(coding);
        expect(weightIn(list, coding)).toBe(greatest);
        expect(greatest).toBeGreaterThan(0);
        expect(greatest).toBeGreaterThanOrEqual(identity ?? 0);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("no header makes it slow", () => {
  const start = performance.now();
  for (const text of [
    " ".repeat(16_000),
    "gzip;".repeat(3_200),
    ",".repeat(16_000),
    `a${" ;".repeat(8_000)}`,
  ]) {
    acceptedOf(text, known);
  }
  expect(performance.now() - start).toBeLessThan(1_000);
});
