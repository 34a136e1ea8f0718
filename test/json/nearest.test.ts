import fc from "fast-check";
import { expect, test } from "vitest";
import { nearest } from "#src/json/nearest.ts";

test("a word with a few letters wrong is found, as the first of those that are as near", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 6, maxLength: 30 }), { minLength: 1, maxLength: 20 }),
      (names) => {
        const [wanted] = names;
        const misspelt = `${wanted!.slice(0, 2)}~${wanted!.slice(3)}`;
        const found = nearest(misspelt, names);
        expect(found).toBeDefined();
        expect(nearest(wanted!, names)!.toLowerCase()).toBe(wanted!.toLowerCase());
      },
    ),
  );
});

test("a word is found among thousands, and what has few letters in common is not taken", () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `GET /v1/accounts/{id}/transfers/${i}`);
  expect(nearest("GET /v1/acounts/{id}/transfers/7421", names)).toBe("GET /v1/accounts/{id}/transfers/7421");
  expect(nearest("deleteEverything", names)).toBeUndefined();
});
