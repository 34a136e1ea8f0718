import fc from "fast-check";
import { expect, test } from "vitest";
import { isDisplayName } from "#src/platform/display-name.ts";

const basicPlane = Array.from({ length: 0x1_0000 }, (_, code) => String.fromCharCode(code));
/** By what Unicode says of each, and not by what we list. */
const those = (property: RegExp) => basicPlane.filter((character) => property.test(character));

const refused = those(/^[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]$/u);
const unseen = those(/^[\p{White_Space}\p{Default_Ignorable_Code_Point}]$/u);

test("no control character, end of line or paragraph, or mark of direction is taken, wherever it stands", () => {
  expect(refused.length).toBeGreaterThan(70);
  const taken = refused.filter((character) =>
    [`${character}ops`, `o${character}ps`, `ops${character}`].some(isDisplayName),
  );
  expect(taken).toStrictEqual([]);
});

test("something can be seen, however many spaces and characters without width are around it", () => {
  expect(unseen.length).toBeGreaterThan(80);
  const braille = "\u2800";
  const blank = fc.string({ unit: fc.constantFrom(...unseen, braille), maxLength: 9 });
  fc.assert(fc.property(blank, (text) => !isDisplayName(text)));
  // These last move text about, by a meaning that Unicode has given up.
  const beside = unseen.filter(
    (character) => !refused.includes(character) && !/[\u206a-\u206f]/.test(character),
  );
  fc.assert(
    fc.property(fc.constantFrom(...beside), fc.constantFrom(...beside), (before, after) =>
      isDisplayName(`${before}ops${after}`),
    ),
  );
});

test.each([
  "x",
  " nightly job ",
  "Zahlungen – Nacht №4",
  "دفع",
  "می‌خواهم",
  "תשלום",
  "👩‍💻",
  "🇩🇪 ❤️",
  "e\u0301",
  "a\u00adb",
])("%j is what people may call something", (name) => expect(isDisplayName(name)).toBe(true));

test("a text of any length is looked at once", () => {
  const million = 1_000_000;
  for (const unit of [" ", "a", " a", "\u200b", "a\u0301"]) {
    // Tried again from each place, this would not end.
    expect(isDisplayName(`${unit.repeat(million)}\n`)).toBe(false);
  }
});
