import fc from "fast-check";
import { expect, test } from "vitest";
import { isExactJson } from "#src/json/exact-text.ts";
import { losesNothing } from "./loses-nothing.ts";

const maxDepth = 3;

const pieces =
  '{ } [ ] , : " \\ \\" a "a" "b" "" "\\u0061" "\\ud83d" "\\ud83d\\ude42" "\\x" "\\u00" "\t" "\u00a0" 0 -0 1 01 -1 1. .5 1e5 1E+2 - + ' +
  "1e400 9007199254740993 0.30000000000000004 true false null tru nul NaN {} [] \u00a0 é";
const spaces = [" ", "\n", "\t", "\r", "\f", "\ufeff"];
const piece = fc.constantFrom(...pieces.split(" "), ...spaces);

test("JSON that loses nothing is told from all other texts, as JSON.parse and the reader of requests do it", async () => {
  const whole = fc.json({ maxDepth: 4, stringUnit: "binary" });
  const cases = fc.oneof(
    whole,
    fc.array(piece, { maxLength: 12 }).map((list) => list.join("")),
    // One piece put in place of another in what is JSON.
    fc.tuple(whole, fc.nat(), fc.nat(3), piece).map(([text, at, length, piece]) => {
      const start = at % (text.length + 1);
      return text.slice(0, start) + piece + text.slice(start + length);
    }),
    fc.array(fc.tuple(piece, piece), { maxLength: 4 }).map((members) => {
      return `{${members.map(([name, value]) => `${name} : ${value}`).join(",")}}`;
    }),
  );
  const seen = { true: 0, false: 0 };
  await fc.assert(
    fc.asyncProperty(cases, async (units) => {
      // As every text is that was decoded; only escapes hold halves of surrogate pairs.
      const text = units.toWellFormed();
      const expected = losesNothing(text, maxDepth);
      expect(await isExactJson(text, maxDepth)).toBe(expected);
      seen[`${expected}`]++;
    }),
    { numRuns: 20_000 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(1_000);
});
