import { backslash, hexDigit, quote } from "#src/platform/ascii.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { isKeptByDouble, isShortNumber } from "./number.ts";

/** Finds the ends of what stands in a JSON text, and refuses what must not stand there. */
export interface Scalars {
  /** The index after the number, boolean or null that begins here with this character. */
  after(start: number, code: number): number;
  /** The index after the name of a member that begins here. */
  afterName(start: number): number;
  /** The index after the string around the start; minus the index to go on at if that is not before `until`. */
  endOfString(start: number, until: number): number;
  /** Refuses any other character there. */
  expect(at: number, code: number): void;
  /** Refuses anything there. */
  expectEnd(at: number): void;
}

/** Texts may hold NUL or not; the path names the present place to whoever reads of a number there. */
export function createScalars(
  text: string,
  { allowsNul, anyNumber, path }: { allowsNul: boolean; anyNumber: boolean; path: () => string },
): Scalars {
  function after(start: number, code: number): number {
    if (code === 0x74 /* t */ && text.startsWith("true", start)) return start + 4;
    if (code === 0x66 /* f */ && text.startsWith("false", start)) return start + 5;
    if (code === 0x6e /* n */ && text.startsWith("null", start)) return start + 4;
    return afterNumber(start);
  }

  function afterNumber(start: number): number {
    number.lastIndex = start;
    if (!number.test(text)) throw notJson(text, start);
    const end = number.lastIndex;
    if (anyNumber || isShortNumber(text, start, end) || isKeptByDouble(text.slice(start, end))) return end;
    throw new InvalidRequest(`${path()}: a double does not keep this number exactly; give it as a string`);
  }

  function afterName(start: number): number {
    expect(start, quote);
    // Both quotes belong to it.
    const end = endOfString(start + 1, start + maxNameLength + 2);
    if (end < 0) throw new InvalidRequest(`the body has a name of more than ${maxNameLength} characters`);
    return end;
  }

  function endOfString(start: number, until: number): number {
    let at = start;
    while (at < until) {
      const code = text.charCodeAt(at);
      if (code === quote) return at + 1;
      if (code === backslash) at = afterEscape(at);
      else if (code >= 0x20) at++;
      else throw notJson(text, at);
    }
    return -at;
  }

  function afterEscape(start: number): number {
    if (text.charCodeAt(start + 1) !== 0x75 /* u */) {
      if (escaped[text.charCodeAt(start + 1)] === 1) return start + 2;
      throw notJson(text, start);
    }
    const unit = unitAt(start);
    if ((unit === 0 && !allowsNul) || isLow(unit)) throw unsafe();
    if (!isHigh(unit)) return start + 6;
    if (!text.startsWith("\\u", start + 6) || !isLow(unitAt(start + 6))) throw unsafe();
    return start + 12;
  }

  /** The code unit that is written there as `\uXXXX`. */
  function unitAt(start: number): number {
    let unit = 0;
    for (let at = start + 2; at < start + 6; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit === -1) throw notJson(text, start);
      unit = unit * 16 + digit;
    }
    return unit;
  }

  function expect(at: number, code: number): void {
    if (text.charCodeAt(at) !== code) throw notJson(text, at);
  }

  return {
    after,
    afterName,
    endOfString,
    expect,
    expectEnd(at) {
      if (at < text.length) throw notJson(text, at);
    },
  };
}

/** Names are read in one turn. */
export const maxNameLength = 64 * 1024;

/** What may stand behind a backslash, apart from `u`. */
const escaped = Uint8Array.from({ length: 128 }, (_, code) =>
  `"\\/bfnrt`.includes(String.fromCharCode(code)) ? 1 : 0,
);
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[Ee][+-]?\d+)?/y;

export function afterSpace(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code > 0x20 || (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09)) break;
  }
  return at;
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}

function unsafe(): InvalidRequest {
  return new InvalidRequest("the body contains NUL or half a surrogate pair, which text cannot hold");
}

/** The text is no JSON, which shows there. A piece of it may be a secret, so only its place is said. */
function notJson(text: string, at: number): InvalidRequest {
  let line = 1;
  let lineStart = 0;
  for (let index = 0; index < at; index++) {
    if (text.charCodeAt(index) !== 0x0a) continue;
    line++;
    lineStart = index + 1;
  }
  return new InvalidRequest(`the body is not valid JSON (line ${line} column ${at - lineStart + 1})`);
}
