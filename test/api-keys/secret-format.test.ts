import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { environmentOf, hintOf, newApiKeySecret } from "#src/api-keys/secret-format.ts";

const environment = fc.constantFrom("sandbox" as const, "live" as const);

describe("a new secret", () => {
  test("is qe_sk_<env>_ and 32 characters of RFC 4648 base32, and names its environment", () => {
    fc.assert(
      fc.property(environment, (env) => {
        const secret = newApiKeySecret(env);
        expect(secret).toMatch(new RegExp(`^qe_sk_${env}_[A-Z2-7]{32}$`));
        expect(environmentOf(secret)).toBe(env);
      }),
    );
  });

  test("is no key any more when any one character of it is altered", () => {
    fc.assert(
      fc.property(
        environment,
        fc.nat(),
        fc.constantFrom(...Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abz018_ ")),
        (env, at, to) => {
          const secret = newApiKeySecret(env);
          const index = at % secret.length;
          fc.pre(secret[index] !== to);
          expect(environmentOf(secret.slice(0, index) + to + secret.slice(index + 1))).toBeUndefined();
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("of the sandbox does not become one of the live environment by its prefix", () => {
    expect(environmentOf(newApiKeySecret("sandbox").replace("sandbox", "live"))).toBeUndefined();
  });

  test("has check digits that others can compute: the low 30 bits of CRC-32", () => {
    // Computed with Python: base32 digits of zlib.crc32(text) & 0x3fffffff.
    expect(environmentOf("qe_sk_live_AAAAAAAAAAAAAAAAAAAAAAAAAACHECK")).toBeUndefined();
    expect(environmentOf("qe_sk_live_AAAAAAAAAAAAAAAAAAAAAAAAAABDLTT7")).toBe("live");
  });
});

test("a hint shows the prefix and four characters, of 130 bits that nobody guesses", () => {
  const secret = newApiKeySecret("live");
  expect(hintOf(secret)).toBe(`${secret.slice(0, 15)}…`);
});
