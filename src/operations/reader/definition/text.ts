import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { isDisplayName } from "#src/platform/display-name.ts";
import { below } from "../pointer.ts";

/** The text as one line for people; undefined if it is none, or has nothing to see in it. */
export function lineOf(value: JsonValue | undefined, maxLength: number): string | undefined {
  if (typeof value !== "string") return undefined;
  const line = value
    .slice(0, 4 * maxLength)
    .replace(/[\s\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]+/gu, " ")
    .trim();
  const cut = (line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line).toWellFormed();
  return isDisplayName(cut) ? cut : undefined;
}

/** The text; undefined if it is none. */
export function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The object's own members; none if it is no object. */
export function entriesOf(value: JsonValue | undefined): [string, JsonValue][] {
  return isObject(value) ? Object.entries(value) : [];
}

/** The list's items that are objects, with their places; none if it is no list. */
export function objectsIn(
  value: JsonValue | undefined,
): { readonly at: number; readonly item: JsonObject }[] {
  return Array.isArray(value) ? value.flatMap((item, at) => (isObject(item) ? [{ at, item }] : [])) : [];
}

/** The list's items that are texts; none if it is no list. */
export function textsIn(value: JsonValue | undefined): string[] {
  const items: readonly JsonValue[] = Array.isArray(value) ? value : [];
  return items.filter((item) => typeof item === "string");
}

/** A JSON pointer to what is under these names. */
export function pointerTo(...names: readonly (string | number)[]): string {
  return names.reduce<string>(below, "");
}

const longestName = 32;

/** The text as a name that templates can hold, different from those that are taken; it is taken from then on. */
export function takeName(text: string, taken: Set<string>): string {
  const joined = wordsOf(text)
    .map((word, i) => (i === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1)))
    .join("");
  const name = /^[a-z]/.test(joined) ? joined : `value${joined}`;
  // Every object has members such as `constructor`, so nothing can be called so.
  return take(taken, name, longestName, (candidate) => !(candidate in {}));
}

const longestId = 63;

/** The text as the id of an auth method, different from those that are taken; it is taken from then on. */
export function takeId(text: string, taken: Set<string>): string {
  return take(taken, wordsOf(text).join("-") || "method", longestId, () => true);
}

/** ClientID has two, and so has client_id. OAuth is one. */
function wordsOf(text: string): string[] {
  const words =
    text
      .slice(0, 200)
      .replaceAll("OAuth", "Oauth")
      .match(/[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+/g) ?? [];
  return words.map((word) => word.toLowerCase());
}

function take(
  taken: Set<string>,
  text: string,
  maxLength: number,
  fits: (candidate: string) => boolean,
): string {
  for (let n = 1; ; n++) {
    const end = n === 1 ? "" : String(n);
    const candidate = text.slice(0, maxLength - end.length) + end;
    if (taken.has(candidate) || !fits(candidate)) continue;
    taken.add(candidate);
    return candidate;
  }
}
