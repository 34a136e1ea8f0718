import fc from "fast-check";
import { expect, test } from "vitest";
import { EscapeReader } from "#src/outbound/escapes.ts";

const escape = /%([0-9a-fA-F]{2})|\\(?:u00([0-9a-fA-F]{2})|(["\\/]))/g;

/** Undoes all escapes of a text at once. */
function unescaped(text: string): string {
  return text.replace(escape, (_, percent?: string, unicode?: string, itself?: string) =>
    itself === undefined ? String.fromCharCode(parseInt(percent ?? unicode ?? "", 16)) : itself,
  );
}

test("whatever is not longer than the reach is seen, escaped or not, exactly if it is in the unescaped text", () => {
  const pieces = fc.constantFrom("a", "b", "/", "%61", "%62", "\\u0061", "\\/", "\\", "%", "%6", "xxxxxxx");
  const cases = fc.record({
    text: fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join("")),
    sought: fc.string({ unit: fc.constantFrom("a", "b", "/"), minLength: 1, maxLength: 6 }),
    pieceLength: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(cases, ({ text, sought, pieceLength }) => {
      const reader = new EscapeReader(Buffer.from(text), 6, pieceLength);
      let isSeen = text.includes(sought);
      for (let from = 0; from < text.length; from += pieceLength) {
        const seen = reader.readUntil(Math.min(from + pieceLength, text.length));
        isSeen ||= seen.includes(sought);
      }
      expect(isSeen).toBe(text.includes(sought) || unescaped(text).includes(sought));
    }),
    { numRuns: 5_000 },
  );
});
