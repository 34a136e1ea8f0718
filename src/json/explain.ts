import { type DescField, type DescMessage, fromJson, getOption, type JsonValue } from "@bufbuild/protobuf";
import { rest_field } from "#gen/patchbay/options/v1/options_pb.js";
import { withBytes } from "./base64.ts";
import { JsonText } from "./exact.ts";
import { fieldNamed, unknown } from "./field-names.ts";
import { inWords, isOfType, jsonType, nameType } from "./json-type.ts";
import { isObject } from "./object.ts";

/** Whether the JSON can be the field's. */
export type Accepts = (field: DescField, json: JsonValue) => boolean;

/**
 * Why this JSON is refused, naming the field and never a value: the errors of `fromJson` repeat values, and a value
 * may be a secret. Undefined if no reason is found.
 */
export function explain(
  message: DescMessage,
  json: JsonValue,
  accepts: Accepts,
  at = "",
): string | undefined {
  if (!isObject(json)) return `${at === "" ? "the request" : `field "${at}"`} must be an object`;
  const prefix = at === "" ? "" : `${at}.`;
  const seen = new Map<unknown, DescField>();
  for (const [name, value] of Object.entries(json)) {
    const field = fieldNamed(message, name);
    if (field === undefined) return `unknown field ${unknown(message, name, prefix)}`;
    if (seen.has(field)) return `field "${prefix}${field.jsonName}" is given twice`;
    seen.set(field, field);
    if (field.oneof && !(value === null && field.fieldKind === "scalar")) {
      const other = seen.get(field.oneof);
      if (other)
        return `only one of "${prefix}${other.jsonName}" and "${prefix}${field.jsonName}" may be given`;
      seen.set(field.oneof, field);
    }
    const problem = explainField(field, value, accepts, prefix + field.jsonName);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function explainField(field: DescField, value: JsonValue, accepts: Accepts, at: string): string | undefined {
  const inner =
    field.message && !field.message.typeName.startsWith("google.protobuf.") ? field.message : undefined;
  if (inner && field.fieldKind === "list" && Array.isArray(value)) {
    return first(value.entries(), ([index, item]) => explain(inner, item, accepts, `${at}[${index}]`));
  }
  if (inner && field.fieldKind === "message" && value !== null) return explain(inner, value, accepts, at);
  const values = inner && field.fieldKind === "map" && isObject(value) ? Object.values(value) : [];
  const problem = first(values, (item) => explain(inner!, item, accepts, `${at}[…]`));
  if (problem !== undefined) return problem;
  if (accepts(field, value)) return undefined;
  return `field "${at}" must be ${inWords(field)}${value === null ? "; leave it out rather than give null" : ""}`;
}

function first<Item>(
  items: Iterable<Item>,
  explainItem: (item: Item) => string | undefined,
): string | undefined {
  for (const item of items) {
    const problem = explainItem(item);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** Takes what `fromJson` reads. */
export const whatIsReadable: Accepts = (field, json) => {
  // Only a field of any JSON is kept as text.
  if (JsonText.isOne(json)) return true;
  try {
    fromJson(field.parent, withBytes(field.parent, { [field.jsonName]: json }));
    return true;
  } catch {
    return false;
  }
};

/**
 * Takes what the OpenAPI document publishes: one form of each value, and null only where it clears. Null for anything
 * else would be taken for "not set", which of a list of allowed addresses means "all".
 */
export const whatIsPublished: Accepts = (field, json) => {
  if (json === null && field.message?.typeName !== "google.protobuf.Value") {
    return getOption(field, rest_field).clearable;
  }
  const type = jsonType(field);
  if (field.fieldKind === "list") return Array.isArray(json) && json.every((item) => isOfType(item, type));
  if (field.fieldKind !== "map") return isOfType(json, type);
  const names = nameType(field);
  return (
    isObject(json) &&
    Object.entries(json).every(([name, value]) => isOfType(name, names) && isOfType(value, type))
  );
};
