import { inTurns } from "#src/platform/in-turns.ts";
import { isKeptByDouble } from "./number.ts";
import { isShortNumber } from "./scan.ts";

/**
 * Whether the text is JSON that nothing changes on its way through a message: no object has two members of one name,
 * doubles keep all numbers, no text has half a surrogate pair, and it is not nested deeper than the limit. Looks at
 * long texts in turns with the rest of the event loop.
 */
export function isExactJson(text: string, maxDepth: number): Promise<boolean> {
  return inTurns(look(text, maxDepth));
}

/** Takes about a millisecond. */
const turnLength = 64 * 1024;

/** The names in the object so far; undefined in a list. */
type Names = Set<string> | undefined;

function* look(text: string, maxDepth: number): Generator<undefined, boolean> {
  const around: Names[] = [];
  let at = 0;
  let turnEnd = turnLength;
  // Each round begins where a value must.
  for (;;) {
    if (at > turnEnd) {
      yield;
      turnEnd = at + turnLength;
    }
    at = afterSpace(text, at);
    const code = text.charCodeAt(at);
    if (code === openBrace || code === openBracket) {
      if (around.length === maxDepth) return false;
      const names: Names = code === openBrace ? new Set() : undefined;
      around.push(names);
      at = afterSpace(text, at + 1);
      if (text.charCodeAt(at) !== closing(names)) {
        if (names !== undefined) at = afterName(text, at, names);
        if (at === nowhere) return false;
        continue;
      }
    } else {
      at = afterScalar(text, at, code);
      if (at === nowhere) return false;
    }
    for (;;) {
      at = afterSpace(text, at);
      if (around.length === 0) return at === text.length;
      const names = around.at(-1);
      const next = text.charCodeAt(at++);
      if (next === comma) {
        if (names !== undefined) at = afterName(text, afterSpace(text, at), names);
        if (at === nowhere) return false;
        break;
      }
      if (next !== closing(names)) return false;
      around.pop();
    }
  }
}

/** In place of an index, where the text is not as it must be. */
const nowhere = -1;

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

function closing(names: Names): number {
  return names === undefined ? closeBracket : closeBrace;
}

function afterSpace(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break;
  }
  return at;
}

/** After the name that begins here, and its colon. A name that the object has already is not as it must be. */
function afterName(text: string, start: number, names: Set<string>): number {
  const end = text.charCodeAt(start) === quote ? afterString(text, start) : nowhere;
  if (end === nowhere) return nowhere;
  const name = stringAt(text, start, end);
  if (names.has(name)) return nowhere;
  names.add(name);
  const at = afterSpace(text, end);
  return text.charCodeAt(at) === colon ? at + 1 : nowhere;
}

function afterScalar(text: string, start: number, code: number): number {
  if (code === quote) return afterString(text, start);
  if (code === 0x74 /* t */ && text.startsWith("true", start)) return start + 4;
  if (code === 0x66 /* f */ && text.startsWith("false", start)) return start + 5;
  if (code === 0x6e /* n */ && text.startsWith("null", start)) return start + 4;
  return afterNumber(text, start);
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[Ee][+-]?\d+)?/y;

function afterNumber(text: string, start: number): number {
  number.lastIndex = start;
  if (!number.test(text)) return nowhere;
  const end = number.lastIndex;
  return isShortNumber(text, start, end) || isKeptByDouble(text.slice(start, end)) ? end : nowhere;
}

function afterString(text: string, start: number): number {
  let hasEscapes = false;
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return hasEscapes && !isSound(text.slice(start, at + 1)) ? nowhere : at + 1;
    if (code < 0x20) return nowhere;
    if (code === backslash) {
      hasEscapes = true;
      at++;
    }
  }
  return nowhere;
}

/** Whether the string with escapes is JSON, and has no half of a surrogate pair. */
function isSound(source: string): boolean {
  try {
    return (JSON.parse(source) as string).isWellFormed();
  } catch {
    return false;
  }
}

function stringAt(text: string, start: number, end: number): string {
  const inside = text.slice(start + 1, end - 1);
  return inside.includes("\\") ? (JSON.parse(`"${inside}"`) as string) : inside;
}
