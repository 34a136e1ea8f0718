import type { JsonObject } from "@bufbuild/protobuf";
import { nearest } from "#src/json/nearest.ts";

/** Why an input does not fit its operation. */
export interface InputProblem {
  /** The place in `input`, as a JSON pointer (RFC 6901). */
  readonly pointer: string;
  /** What is wrong there. Never with a value, which may be a secret. */
  readonly reason: string;
  /** What may have been meant instead. */
  readonly suggestion?: string | undefined;
}

/** A name that an object may have. */
export interface KnownName {
  readonly name: string;
  readonly required?: boolean | undefined;
}

/** As many problems of an input as are shown. */
export const maxProblems = 20;

/** What is compared takes time: more names, and longer ones, than are misspelt by chance, are left without a hint. */
const maxCompared = 50;
const maxHinted = 50;

/** Which names are missing from the values, and which of theirs are unknown, each with what may have been meant. */
export function nameProblems(pointer: string, known: readonly KnownName[], values: JsonObject) {
  const names = new Set(known.map(({ name }) => name));
  const unknown = Object.keys(values).filter((name) => !names.has(name));
  const missing = known.filter(({ name, required }) => required === true && !Object.hasOwn(values, name));
  return {
    missing: firstOf(missing).map(({ name }) => missingProblem(pointer, name, unknown)),
    unknown: firstOf(unknown).map((name) => unknownProblem(pointer, name, names)),
  };
}

/** One more than are shown, so that it can be said that there are others. */
function firstOf<Item>(items: readonly Item[]): readonly Item[] {
  return items.slice(0, maxProblems + 1);
}

/** A member is not there; perhaps it is one of the given ones, misspelt. */
export function missingProblem(pointer: string, name: string, given: Iterable<string>): InputProblem {
  const near = nearestOf(name, given);
  return problem(
    `${pointer}/${escaped(name)}`,
    near === undefined ? "is missing" : `is missing; ${near} was given`,
  );
}

/** A member has no meaning; perhaps it is one of the known ones, misspelt. */
export function unknownProblem(pointer: string, name: string, known: Iterable<string>): InputProblem {
  return problem(`${pointer}/${escaped(name)}`, "is unknown", nearestOf(name, known));
}

/** The candidate that may have been meant. */
export function nearestOf(name: string, among: Iterable<string>): string | undefined {
  return name.length > maxHinted ? undefined : nearest(name, [...among].slice(0, maxCompared));
}

/** What is wrong at the place. */
export function problem(pointer: string, reason: string, suggestion?: string): InputProblem {
  return {
    pointer: shortened(pointer, maxPointer),
    reason: shortened(reason, maxReason),
    ...(suggestion !== undefined && { suggestion }),
  };
}

/** The problem as a text, short enough to stand with others in the headers of an answer. */
export function inOneLine({ pointer, reason, suggestion }: InputProblem): string {
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  return `${shortened(pointer, maxLineLength)} ${reason.slice(0, 2 * maxLineLength)}${hint}`;
}

/** Both can be as long as a name in the input, or a pattern of a schema. */
const maxPointer = 2_000;
const maxReason = 500;
const maxLineLength = 120;

function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most).toWellFormed()}…` : text;
}

/** A name as a part of a JSON pointer (RFC 6901). */
export function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** A part of a JSON pointer as the name that it is. */
export function unescaped(part: string): string {
  return part.replaceAll("~1", "/").replaceAll("~0", "~");
}
