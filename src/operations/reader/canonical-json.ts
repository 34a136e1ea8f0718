import type { JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";

/** JSON in which members are in the order of their names, so that equal values have equal texts. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, member: JsonValue) => (isObject(member) ? sorted(member) : member));
}

function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
