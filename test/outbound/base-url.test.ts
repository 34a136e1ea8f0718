import fc from "fast-check";
import { expect, test } from "vitest";
import { baseUrlText, isWithin, readBaseUrl } from "#src/outbound/base-url.ts";

const segment = fc.constantFrom("a", "A", "b", "ab", "v1", "v10", "%61", "a%2Fb", "a;x", "");
const path = fc
  .array(segment, { maxLength: 4 })
  .map((segments) => segments.map((one) => `/${one}`).join(""))
  .filter((text) => !text.startsWith("//"));
const origin = fc.constantFrom(
  "http://bank.example",
  "https://bank.example",
  "https://bank.example:8443",
  "https://BANK.example:443",
  "https://bank.example.evil.example",
);
const baseUrl = fc.tuple(origin, path).map(([start, rest]) => baseUrlText(readBaseUrl(start + rest)));

/** What decides where a call of the base URL goes, in the words of URLs. */
function placeOf(text: string): [string, ...string[]] {
  const url = new URL(text);
  return [url.origin, ...(url.pathname === "/" ? [] : url.pathname.split("/").slice(1))];
}

test("a base URL is within another exactly if origin and segments of that are those that it begins with", () => {
  const outcomes = new Set<boolean>();
  fc.assert(
    fc.property(baseUrl, baseUrl, (inner, outer) => {
      const begins = placeOf(outer).every((part, index) => placeOf(inner)[index] === part);
      outcomes.add(begins);
      expect(isWithin(inner, outer)).toBe(begins);
    }),
    { numRuns: 5_000 },
  );
  expect(outcomes.size).toBe(2);
});
