import fc from "fast-check";
import { expect, test } from "vitest";
import { matchesWhole, requirePattern } from "#src/integrations/patterns.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** Patterns of all that RE2 repeats, groups and lists, counts in counts too. */
const pattern = fc
  .letrec<{ item: string; text: string }>((tie) => ({
    item: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(
        "a",
        "[a-z]",
        "[^a]",
        ".",
        String.raw`\.`,
        String.raw`\d`,
        "[]a]",
        "[a{9}]",
        String.raw`[\]]`,
      ),
      tie("text").map((text) => `(${text})`),
      tie("text").map((text) => `(?:${text})`),
    ),
    text: fc
      .array(fc.tuple(tie("item"), fc.constantFrom("", "?", "*", "+", "{3}", "{16}", "{0,30}", "{2,}")), {
        minLength: 1,
        maxLength: 6,
      })
      .map((parts) => parts.flat().join("")),
  }))
  .text.map((text) => `^${text}$`);

/** Whether the pattern is taken. Anything thrown that is no refusal fails the test. */
function isTaken(pattern: string): boolean {
  try {
    requirePattern("pattern", pattern);
    return true;
  } catch (error) {
    if (error instanceof InvalidRequest) return false;
    throw error;
  }
}

test("a pattern that is taken says of texts what JavaScript says, unless the text is too long for it", () => {
  let taken = 0;
  fc.assert(
    fc.property(pattern, fc.stringMatching(/^[a-z.\]0-9]{0,12}$/), (pattern, text) => {
      if (!isTaken(pattern)) return;
      taken++;
      expect(matchesWhole(pattern, text)).toBe(
        new RegExp(pattern.replaceAll("[]a]", String.raw`[\]a]`), "s").test(text),
      );
    }),
    { numRuns: 1_000 },
  );
  expect(taken).toBeGreaterThan(100);
});

test("a value is held against a pattern as a whole, and against a costly one only if it is short", () => {
  expect(matchesWhole("^[a-z]+$", "abc")).toBe(true);
  expect(matchesWhole("^[a-z]+$", "abc\n")).toBe(false);
  expect(matchesWhole("^a|b$", "ac")).toBe(false);
  expect(matchesWhole("^[a-z]+$", "a".repeat(1_000))).toBe(true);
  expect(matchesWhole("^(?:[a-z]?){200}$", "a".repeat(200))).toBe(false);
});
