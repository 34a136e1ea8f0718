import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";

/** Finds the definition of this name; undefined if there is none. */
export type FindDefinition = (name: string) => JsonValue | undefined;

const mostHops = 50;

/**
 * The schema that a reference leads to: the same object each time. What stands beside the reference is held to as well,
 * so it is put into a copy, which is the same each time, too.
 */
export function resolve(schema: JsonValue, find: FindDefinition): JsonValue {
  let at = schema;
  const beside: JsonObject[] = [];
  for (let hops = 0; isObject(at); hops++) {
    const { $ref: reference } = at;
    const wrapped = wrappedIn(at);
    if (typeof reference !== "string" && wrapped === undefined) break;
    const name = typeof reference === "string" ? nameIn(reference) : undefined;
    if (wrapped === undefined && Object.keys(at).some((keyword) => !isNote(keyword))) beside.push(at);
    // What cannot be found says nothing.
    at = hops === mostHops ? true : (wrapped ?? (name === undefined ? true : (find(name) ?? true)));
  }
  const [first] = beside;
  if (first === undefined) return at;
  const known = copies.get(first);
  if (known !== undefined) return known;
  const { $ref: _, ...copy } = Object.assign({}, membersOf(at), ...beside.toReversed()) as JsonObject;
  copies.set(first, copy);
  return copy;
}

/** One that stands alone in `allOf` and its like, as 3.0 writes what a reference cannot have beside it. */
function wrappedIn(schema: JsonObject): JsonValue | undefined {
  if ("$ref" in schema) return undefined;
  const rules = Object.entries(schema).filter(([keyword]) => !isNote(keyword));
  const [[keyword, list] = ["", undefined]] = rules;
  const isGroup = rules.length === 1 && /^(?:all|any|one)Of$/.test(keyword);
  return isGroup && Array.isArray(list) && list.length === 1 ? list[0] : undefined;
}

const copies = new WeakMap<JsonObject, JsonObject>();

/** The definition that a reference names. */
export function nameIn(reference: string): string | undefined {
  const [, name] = /^#\/\$defs\/([^/]+)$/.exec(reference) ?? [];
  return name?.replaceAll("~1", "/").replaceAll("~0", "~");
}

const notes = new Set(["$ref", "title", "description", "default", "deprecated", "readOnly", "writeOnly"]);

/** Whether the keyword rules no value out. */
export function isNote(keyword: string): boolean {
  return notes.has(keyword);
}
