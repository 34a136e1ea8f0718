import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";

const one = [
  ...["not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"],
  ...["unevaluatedItems", "unevaluatedProperties"],
];
const lists = ["allOf", "anyOf", "oneOf", "prefixItems"];
const named = ["properties", "patternProperties", "dependentSchemas"];

/** The value of a keyword with each of the schemas in it as `change` makes it. */
export function withEach(
  keyword: string,
  value: JsonValue,
  change: (schema: JsonObject) => JsonObject,
): JsonValue {
  const changed = (schema: JsonValue) => (isObject(schema) ? change(schema) : schema);
  if (one.includes(keyword)) return changed(value);
  if (lists.includes(keyword) && Array.isArray(value)) return value.map(changed);
  if (!named.includes(keyword) || !isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, changed(schema)]));
}
