/**
 * Whether a double keeps the number that is written there: the digits of its own shortest text are those of this
 * one, apart from zeros that mean nothing. `1.0`, `1E+2` and `0.30000000000000004` are kept; `9007199254740993`,
 * `1e-400` and `-0`, whose sign no JSON writer of ours repeats, are not. Nor is one of more than a thousand characters,
 * which nobody means: to read millions of digits would hold up others.
 */
export function isKeptByDouble(text: string): boolean {
  if (text.length > longest) return false;
  const value = Number(text);
  const shortest = String(value);
  if (shortest === text) return true;
  if (!Number.isFinite(value) || Object.is(value, -0)) return false;
  const written = significand(text);
  const kept = significand(shortest);
  return (
    written.exponent === kept.exponent &&
    text.slice(written.start, written.end).replace(".", "") ===
      shortest.slice(kept.start, kept.end).replace(".", "")
  );
}

const longest = 1_000;

/** Where the significant digits stand, and the power of ten in front of the first; all 0 for zero. */
interface Significand {
  readonly start: number;
  readonly end: number;
  readonly exponent: number;
}

const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const nine = 0x39;

/** Reads each character once: a regular expression that strips zeros takes quadratic time for `0…01`. */
function significand(text: string): Significand {
  let start = -1;
  let end = 0;
  let fraction = -1;
  let at = text.charCodeAt(0) === minus ? 1 : 0;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === point) fraction = at;
    else if (code < zero || code > nine) break;
    else if (code !== zero) {
      if (start === -1) start = at;
      end = at + 1;
    }
  }
  if (start === -1) return { start: 0, end: 0, exponent: 0 };
  const power = at < text.length ? Number(text.slice(at + 1)) : 0;
  const whole = fraction === -1 ? at : fraction;
  return { start, end, exponent: power + (start < whole ? whole - start : whole - start + 1) };
}

/**
 * Whether the number is so short that any double keeps it, as most are: at most 15 digits, and two in the exponent. A
 * number that begins with -0 may be the zero whose sign is lost.
 */
export function isShortNumber(text: string, start: number, end: number): boolean {
  if (end - start > 19 || text.startsWith("-0", start)) return false;
  let at = start;
  while (at < end && text.charCodeAt(at) <= nine) at++;
  if (at - start > 15) return false;
  return at === end || end - at <= (isDigit(text.charCodeAt(at + 1)) ? 3 : 4);
}

function isDigit(code: number): boolean {
  return code >= zero && code <= nine;
}
