import type { JsonObject } from "@bufbuild/protobuf";
import { nearest } from "#src/json/nearest.ts";
import { maxProblems } from "./errors.ts";

/** A name that an object may have. */
export interface KnownName {
  readonly name: string;
  readonly required?: boolean | undefined;
}

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
export function missingProblem(pointer: string, name: string, given: Iterable<string>): string {
  const near = nearestOf(name, given);
  return problem(`${pointer}/${escaped(name)}`, "is missing", near && `${near} was given`);
}

/** A member has no meaning; perhaps it is one of the known ones, misspelt. */
export function unknownProblem(pointer: string, name: string, known: Iterable<string>): string {
  const near = nearestOf(name, known);
  return problem(`${pointer}/${escaped(name)}`, "is unknown", near && `did you mean ${near}?`);
}

function nearestOf(name: string, among: Iterable<string>): string | undefined {
  return name.length > maxHinted ? undefined : nearest(name, [...among].slice(0, maxCompared));
}

/** What is wrong at the place. Never with a value, which may be a secret. */
export function problem(pointer: string, what: string, hint?: string): string {
  const place = pointer.length > maxLength ? `${pointer.slice(0, maxLength).toWellFormed()}…` : pointer;
  return `${place} ${what.slice(0, 2 * maxLength)}${hint === undefined || hint === "" ? "" : `; ${hint}`}`;
}

/** The problems of an answer stand in its headers, too. */
const maxLength = 120;

/** A name as a part of a JSON pointer (RFC 6901). */
export function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
