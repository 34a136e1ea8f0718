import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isKeptByDouble, isShortNumber } from "#src/json/number.ts";

describe("a double keeps", () => {
  test.each([
    ..."0 0.0 0e5 0.000e-7 1 1.0 1e2 100.000 1E+2 10e-1 0.1e1 0.001e3 -122.4 1e21 1000000000000000000000".split(
      " ",
    ),
    ..."0.30000000000000004 -122.41941550000001 9007199254740992 5e-324".split(" "),
    ..."1.7976931348623157e308 2.2250738585072014E-308 0.1 1e-00 1e0000000000000000000000002".split(" "),
  ])("%s", (text) => expect(isKeptByDouble(text)).toBe(true));
});

describe("a double does not keep", () => {
  test.each([
    ..."0.99999999999999999999 9007199254740990.6 9.123456789012347 9007199254740993 1152921504606846976 12345678901234567890".split(
      " ",
    ),
    ..."1e-400 1e400 -1e400 4.9e-324 2e-324 -0 -0.0 -0e3 1.00000000000000000001 0.1000000000000000000001".split(
      " ",
    ),
    ..."1.79769313486231571e308 1e99999999999999999999 1e-99999999999999999999".split(" "),
  ])("%s", (text) => expect(isKeptByDouble(text)).toBe(false));
});

const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0));
const zeros = fc.integer({ min: 0, max: 30 }).map((count) => "0".repeat(count));

test("a double keeps its own text, with whatever zeros and exponent it is written", () => {
  fc.assert(
    fc.property(
      finite,
      zeros,
      zeros,
      fc.integer({ min: -400, max: 400 }),
      fc.constantFrom("e", "E"),
      (value, before, after, shift, letter) => {
        expect(isKeptByDouble(String(value))).toBe(true);
        expect(isKeptByDouble(value.toExponential())).toBe(true);
        const { sign, digits, exponent } = decimalOf(String(value));
        const head = `${sign}${before}${digits}`;
        expect(isKeptByDouble(`${head}.${after}${letter}${exponent}`)).toBe(true);
        const at = Math.max(0, Math.min(digits.length, digits.length + shift));
        const moved = `${sign}${before}${digits.slice(0, at)}.${digits.slice(at)}${after}${letter}`;
        expect(isKeptByDouble(`${moved}${exponent + BigInt(digits.length - at)}`)).toBe(true);
      },
    ),
    { numRuns: 2_000 },
  );
});

test("of any digits a double keeps those that are exactly its own text's number", () => {
  const digits = fc.stringMatching(/^\d{1,24}$/);
  const fraction = fc.option(digits, { nil: undefined });
  const exponent = fc.option(fc.integer({ min: -340, max: 320 }), { nil: undefined });
  let kept = 0;
  fc.assert(
    fc.property(fc.constantFrom("", "-"), digits, fraction, exponent, (sign, whole, fraction, exponent) => {
      const text =
        sign +
        whole +
        (fraction === undefined ? "" : `.${fraction}`) +
        (exponent === undefined ? "" : `e${exponent}`);
      const expected = isSameNumber(text, Number(text));
      if (expected) kept++;
      expect(isKeptByDouble(text)).toBe(expected);
      if (isShortNumber(`[${text}]`, 1, text.length + 1)) expect(expected).toBe(true);
    }),
    { numRuns: 5_000 },
  );
  expect(kept).toBeGreaterThan(100);
});

test("a number is read up to a thousand characters, and is kept by no double beyond", () => {
  expect(isKeptByDouble(`1.${"0".repeat(998)}`)).toBe(true);
  expect(isKeptByDouble(`1.${"0".repeat(999)}`)).toBe(false);
  expect(isKeptByDouble(`0.${"0".repeat(2_000_000)}1e2000001`)).toBe(false);
});

/** Whether the text's number is the one that the double's shortest text says, and not its sign's only. */
function isSameNumber(text: string, value: number): boolean {
  if (!Number.isFinite(value) || Object.is(value, -0)) return false;
  const a = decimalOf(text);
  const b = decimalOf(String(value));
  const least = a.exponent < b.exponent ? a.exponent : b.exponent;
  const scaled = ({ digits, exponent }: typeof a) => BigInt(digits) * 10n ** (exponent - least);
  return scaled(a) === scaled(b) && (a.sign === b.sign || scaled(a) === 0n);
}

/** The number as digits times a power of ten. */
function decimalOf(text: string) {
  const [, sign = "", whole = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d*))?(?:e([-+]?\d+))?$/i.exec(text) ?? [];
  return {
    sign,
    digits: whole + fraction,
    exponent: BigInt(exponent.replace("+", "")) - BigInt(fraction.length),
  };
}
