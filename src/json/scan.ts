import type { JsonValue } from "@bufbuild/protobuf";
import { isKeptByDouble } from "./number.ts";

/** What `JSON.parse` does not report of a JSON text. It means nothing for a text that is not JSON. */
export interface JsonScan {
  /** How many objects and lists lie inside each other; counted at most to one beyond the limit. */
  readonly depth: number;
  /** How many members its objects have. If two have one name, `JSON.parse` keeps one. */
  readonly members: number;
  /** Whether a name is written with an escape. */
  readonly escapesNames: boolean;
  /** Whether doubles keep all of its numbers. */
  readonly keepsNumbers: boolean;
}

/** Reads a JSON text once, and stops where it is nested deeper than the limit. */
export function scanJson(text: string, maxDepth: number): JsonScan {
  let depth = 0;
  let deepest = 0;
  let members = 0;
  let escapesNames = false;
  let keepsNumbers = true;
  let stringStart = 0;
  for (let at = 0; at < text.length && deepest <= maxDepth; at++) {
    switch (text.charCodeAt(at)) {
      case quote:
        stringStart = at;
        at = endOfString(text, at) - 1;
        break;
      case 0x3a: // :
        members++;
        escapesNames ||= hasEscape(text, stringStart, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        deepest = Math.max(deepest, ++depth);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
      case 0x2d: // -
      case 0x30: // 0 to 9
      case 0x31:
      case 0x32:
      case 0x33:
      case 0x34:
      case 0x35:
      case 0x36:
      case 0x37:
      case 0x38:
      case nine: {
        const end = endOfNumber(text, at);
        keepsNumbers &&= isShortNumber(text, at, end) || isKeptByDouble(text.slice(at, end));
        at = end - 1;
      }
    }
  }
  return { depth: deepest, members, escapesNames, keepsNumbers };
}

function hasEscape(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (text.charCodeAt(at) === backslash) return true;
  return false;
}

const quote = 0x22;
const backslash = 0x5c;

/** The index after the string that begins here. */
export function endOfString(text: string, start: number): number {
  const near = Math.min(text.length, start + 64);
  let at = start + 1;
  for (; at < near; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code === backslash) at++;
  }
  // V8 finds the end of a long text many times quicker. A quote behind an odd number of backslashes is no end.
  const searched = at;
  for (at = text.indexOf('"', at); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = at;
    while (escapes > searched && text.charCodeAt(escapes - 1) === backslash) escapes--;
    if ((at - escapes) % 2 === 0) return at + 1;
  }
  return text.length;
}

/** The index after the number that begins here. */
export function endOfNumber(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && isOfNumber(text.charCodeAt(at))) at++;
  return at;
}

/** Digits, `+`, `-`, `.`, `E` and `e`. */
function isOfNumber(code: number): boolean {
  return (code >= 0x2b && code <= 0x39 && code !== 0x2c && code !== 0x2f) || code === 0x65 || code === 0x45;
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

const nine = 0x39;

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= nine;
}

/** How many members the objects of this JSON have. */
export function countMembers(json: JsonValue): number {
  if (typeof json !== "object" || json === null) return 0;
  let members = 0;
  if (Array.isArray(json)) {
    for (const item of json) members += countMembers(item);
  } else {
    // Not Object.keys, which takes three times as long for an object of many members.
    for (const name in json) members += 1 + countMembers(json[name]!);
  }
  return members;
}
