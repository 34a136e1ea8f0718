import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import type { Direction } from "./keywords.ts";

/** Two schemas at the same place within two others. */
export interface InnerPair {
  readonly step: string;
  readonly before: JsonValue;
  readonly after: JsonValue;
  readonly direction: Direction;
}

/** Where these are absent, everything is right there. */
const open: ReadonlyMap<string, string> = new Map([
  ["additionalProperties", "*"],
  ["unevaluatedProperties", "*"],
  ["items", "[]"],
  ["unevaluatedItems", "[]"],
]);
const turnedAround = new Set(["contains", "propertyNames", "not", "if", "then", "else"]);

/** The schemas within both, by their places; those of `allOf`, `anyOf` and `oneOf` have none. */
export function schemasIn(before: JsonObject, after: JsonObject, direction: Direction): InnerPair[] {
  const pairs: InnerPair[] = [];
  const add = (step: string, was: JsonValue = true, is: JsonValue = true, way = direction) =>
    pairs.push({ step, before: was, after: is, direction: way });
  const visit = (name: string) => {
    const [was, is] = [before[name], after[name]];
    const place = open.get(name);
    if (place !== undefined) add(place, was, is);
    else if (turnedAround.has(name)) {
      if (was !== undefined && is !== undefined) add("", was, is, "exact");
    } else if (name === "properties") {
      for (const [step, those, these] of inBoth(was, is)) add(step, those, these);
    } else if (name === "patternProperties" || name === "dependentSchemas") {
      for (const [key, those, these] of inEither(was, is))
        add(name === "patternProperties" ? `(${key})` : "", those, these);
    } else if (name === "prefixItems") {
      for (const [i, those, these] of firstItems(before, after)) add(`[${i}]`, those, these);
    }
  };
  for (const name of Object.keys(before)) visit(name);
  for (const name of Object.keys(after)) if (!(name in before)) visit(name);
  return pairs;
}

type Both = readonly [string, JsonValue, JsonValue];

function inBoth(before: JsonValue | undefined, after: JsonValue | undefined): Both[] {
  if (!isObject(before) || !isObject(after)) return [];
  return Object.entries(before).flatMap(([name, was]): Both[] => {
    const is = Object.hasOwn(after, name) ? after[name] : undefined;
    return is === undefined ? [] : [[name, was, is]];
  });
}

/** What only one of them rules is open in the other. */
function inEither(before: JsonValue | undefined, after: JsonValue | undefined): Both[] {
  const was = new Map(Object.entries(membersOf(before)));
  const is = new Map(Object.entries(membersOf(after)));
  const names = [...new Set([...was.keys(), ...is.keys()])];
  return names.map((name) => [name, was.get(name) ?? true, is.get(name) ?? true]);
}

function firstItems(before: JsonObject, after: JsonObject): Both[] {
  const [was, is] = [listOf(before["prefixItems"]), listOf(after["prefixItems"])];
  return Array.from({ length: Math.max(was.length, is.length) }, (_, i) => [
    String(i),
    was[i] ?? before["items"] ?? true,
    is[i] ?? after["items"] ?? true,
  ]);
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : [];
}
