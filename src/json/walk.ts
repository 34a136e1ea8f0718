import {
  closeBrace,
  closeBracket,
  colon,
  comma,
  openBrace,
  openBracket,
  quote,
} from "#src/platform/ascii.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { Names } from "./names.ts";
import { afterSpace, createScalars } from "./scalars.ts";

/** What JSON must keep to beside its grammar. */
export interface JsonRules {
  /** How many objects and lists may lie inside each other. */
  readonly maxDepth: number;
  /** Whether texts may hold NUL. */
  readonly allowsNul: boolean;
  /** Whether numbers may be ones that a double does not keep. Absent: they may not. */
  readonly anyNumber?: boolean;
}

/** Sees each part of a JSON text in the order in which it stands there. */
export interface JsonVisitor {
  /** A list or an object begins here. */
  open(start: number): void;
  /** The member that follows has this name. */
  name(name: string): void;
  /** A text, number, boolean or null stands here. */
  scalar(start: number, end: number): void;
  /** The innermost list or object ends here. */
  close(end: number): void;
}

/** Takes about a millisecond. */
const turnLength = 64 * 1024;

/** An object or list around the present place. */
interface Level {
  /** The names in the object so far; undefined in a list. */
  readonly names: Names | undefined;
  /** The name of the present member. */
  name: string;
  /** The index of the present item. */
  index: number;
}

/**
 * Walks through a JSON text, and yields often enough for `inTurns`. Refuses text that is not JSON or nested too deeply,
 * and what would silently change on its way through a message: an object keeps only one of two members with one name, a
 * double only so much of a number, and UTF-8 no half of a surrogate pair.
 */
export function* walkJson(
  text: string,
  { maxDepth, allowsNul, anyNumber = false }: JsonRules,
  visitor?: JsonVisitor,
): Generator<undefined, void> {
  const around: Level[] = [];
  const scalars = createScalars(text, { allowsNul, anyNumber, path: () => pathOf(around) });
  // Not a variable of the loop below: what a function within shares is slower to reach.
  function afterName(level: Level, names: Names, from: number): number {
    const start = afterSpace(text, from);
    const end = scalars.afterName(start);
    level.name = stringAt(text, start, end);
    visitor?.name(level.name);
    if (!names.add(level.name)) throw new InvalidRequest(`${pathOf(around)} is given twice`);
    const at = afterSpace(text, end);
    scalars.expect(at, colon);
    return at + 1;
  }

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
      if (around.length === maxDepth) {
        throw new InvalidRequest(`the body is nested more than ${maxDepth} levels deep`);
      }
      const level: Level = { names: code === openBrace ? new Names() : undefined, name: "", index: 0 };
      around.push(level);
      visitor?.open(at);
      at = afterSpace(text, at + 1);
      if (text.charCodeAt(at) !== closing(level)) {
        if (level.names !== undefined) at = afterName(level, level.names, at);
        continue;
      }
    } else {
      let end = code === quote ? scalars.endOfString(at + 1, at + turnLength) : scalars.after(at, code);
      while (end < 0) {
        yield;
        end = scalars.endOfString(-end, turnLength - end);
      }
      visitor?.scalar(at, end);
      at = end;
    }
    for (;;) {
      at = afterSpace(text, at);
      const level = around.at(-1);
      if (level === undefined) return scalars.expectEnd(at);
      const next = text.charCodeAt(at);
      if (next === comma) {
        at++;
        level.index++;
        if (level.names !== undefined) at = afterName(level, level.names, at);
        break;
      }
      scalars.expect(at++, closing(level));
      around.pop();
      visitor?.close(at);
    }
  }
}

function closing({ names }: Level): number {
  return names === undefined ? closeBracket : closeBrace;
}

/** The scalar that stands there in JSON that was walked through. */
export function scalarAt(text: string, start: number, end: number): string | number | boolean | null {
  switch (text[start]) {
    case '"':
      return stringAt(text, start, end);
    case "t":
      return true;
    case "f":
      return false;
    case "n":
      return null;
    default:
      return Number(text.slice(start, end));
  }
}

function stringAt(text: string, start: number, end: number): string {
  const inside = text.slice(start + 1, end - 1);
  return inside.includes("\\") ? (JSON.parse(`"${inside}"`) as string) : inside;
}

const maxShown = 200;

/** The present place, in words. */
function pathOf(around: readonly Level[]): string {
  const text = around
    .map(({ names, name, index }) => (names === undefined ? `[${index}]` : `.${name.slice(0, 64)}`))
    .join("")
    .replace(/^\./, "");
  if (text === "") return "the body";
  return `field "${text.length > maxShown ? `${text.slice(0, maxShown)}…` : text}"`;
}
