import { RE2JS } from "re2js";
import { InvalidRequest } from "#src/platform/errors.ts";

const maxPatternLength = 512;
/** In instructions of the compiled pattern: what each character of a value is held against. */
const maxProgramSize = 2_000;
const maxCounts = 300;
/** Of a value that a pattern judges. Program times length is what a match costs. */
const maxMatchedLength = 1_024;

/** Whether the pattern matches the text as a whole. In RE2, whose time grows with the text and never explodes. */
export function matchesWhole(pattern: string, text: string): boolean {
  return text.length <= maxMatchedLength && compiled(pattern).matches(text);
}

/** Refuses a pattern that is none, or that costs too much. `field` names it. */
export function requirePattern(field: string, pattern: string): void {
  if (pattern.length > maxPatternLength) {
    throw new InvalidRequest(`${field}: a pattern has at most ${maxPatternLength} characters`);
  }
  if (!pattern.startsWith("^") || !pattern.endsWith("$")) {
    throw new InvalidRequest(
      `${field}: begin the pattern with ^ and end it with $, as it is about the whole value`,
    );
  }
  // Before it is compiled: counted repetitions are what makes a large program of a short pattern.
  if (sumOfCounts(pattern) > maxCounts) throw tooCostly(field);
  if (programSize(field, pattern) > maxProgramSize) throw tooCostly(field);
}

function programSize(field: string, pattern: string): number {
  try {
    return compiled(pattern).programSize();
  } catch {
    throw new InvalidRequest(
      `${field}: give a pattern in the syntax of RE2, which has no look-around and no back-references`,
    );
  }
}

function sumOfCounts(pattern: string): number {
  return [...pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].reduce(
    (sum, [, from, to]) => sum + Math.max(Number(from), Number(to ?? 0)),
    0,
  );
}

function tooCostly(field: string): InvalidRequest {
  return new InvalidRequest(`${field}: the pattern costs too much; use fewer and smaller {counts}`);
}

/** Compiling takes longer than matching, and the same few patterns come again with each connection. */
const known = new Map<string, RE2JS>();
const maxKnown = 500;

function compiled(pattern: string): RE2JS {
  const before = known.get(pattern);
  if (before !== undefined) return before;
  const made = RE2JS.compile(pattern);
  if (known.size >= maxKnown) known.clear();
  known.set(pattern, made);
  return made;
}
