import { RE2JS } from "re2js";
import { InvalidRequest } from "#src/platform/errors.ts";

const maxPatternLength = 512;
const maxProgramSize = 1_000;
const maxWeight = 256;
const maxWeightOfAll = 1_000;
/**
 * Instructions of the pattern times characters of the value: what a match costs at most, here some milliseconds. So a
 * long value wants a pattern that repeats with + and not with a large count.
 */
const maxWork = 20_000;

/** Whether the pattern matches the text as a whole. In RE2, whose time grows with the text and never explodes. */
export function matchesWhole(pattern: string, text: string): boolean {
  const program = compiled(pattern);
  return text.length * program.programSize() <= maxWork && program.matches(text);
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
  // Classes of all Unicode and folded case take a quarter of a second to compile; what is given to sign in is ASCII.
  if (!/^[\x20-\x7e]*$/.test(pattern) || /\(\?(?!:)|\\[pPxCQ]/.test(pattern)) {
    throw new InvalidRequest(
      `${field}: write the pattern in ASCII, without flags and without \\p, \\x, \\C and \\Q; groups are (…) and (?:…)`,
    );
  }
  // Before it is compiled: counted repetitions are what makes a large program of a short pattern.
  if (weightOf(pattern) > maxWeight) throw tooCostly(field);
  if (programSize(field, pattern) > maxProgramSize) throw tooCostly(field);
}

/** Refuses patterns that together take too long to compile, in as many requests as their owner may make. */
export function requireFewPatterns(patterns: readonly string[]): void {
  // One that is refused by itself is refused by its name, later.
  const weights = patterns.map((pattern) => Math.min(weightOf(pattern), maxWeight));
  if (weights.reduce((sum, weight) => sum + weight, 0) <= maxWeightOfAll) return;
  throw new InvalidRequest(
    "the integration's patterns cost too much together; use fewer and smaller {counts}",
  );
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

/** How many characters and classes it stands for once its counted repetitions are written out; rather more than less. */
function weightOf(pattern: string): number {
  const groups = [0];
  let last = 0;
  const add = (weight: number) => groups.push((groups.pop() ?? 0) + weight);
  for (const [token, from, to] of pattern.matchAll(tokens)) {
    if (from !== undefined) {
      const times = Math.max(Number(from), Number(to ?? 0), 1);
      add(last * (times - 1));
      last *= times;
    } else if (token.startsWith("(")) {
      groups.push(0);
    } else {
      last = token === ")" ? (groups.pop() ?? 0) : 1;
      add(last);
    }
  }
  return groups.reduce((sum, weight) => sum + weight, 0);
}

/** What one weight is of: an escape, a class, a bracket, a count or a character. */
const tokens = /\\.|\[(?:\\.|[^\]\\])+\]|\((?:\?:)?|\{(\d+)(?:,(\d*))?\}|./gs;

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
