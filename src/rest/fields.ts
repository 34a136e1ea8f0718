import type { DescField, JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { jsonType } from "#src/json/json-type.ts";
import { isObject } from "#src/json/object.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** Messages whose JSON is a single string, so that the path's or query's text can stand for them. */
const textual = ["google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"];

/** Whether one piece of text can be the field's value, or an item of it. */
export function takesText(field: DescField): boolean {
  if (field.fieldKind === "list") return field.listKind !== "message";
  if (field.fieldKind !== "message") return field.fieldKind !== "map";
  return isWrapperDesc(field.message) || textual.includes(field.message.typeName);
}

/** Whether the field is a message whose JSON is an object with the message's own fields. */
export function hasFields(field: DescField): field is DescField & { fieldKind: "message" } {
  return field.fieldKind === "message" && !field.message.typeName.startsWith("google.protobuf.");
}

/** A text in the path or query as the JSON that it stands for; as text where it stands for nothing else. */
export function jsonFromText(field: DescField, text: string): JsonValue {
  const { type } = jsonType(field);
  if (type === "boolean" && (text === "true" || text === "false")) return text === "true";
  // The empty text and `0x10` are no numbers, though they could be taken for some.
  if (type === "integer" && /^-?\d+$/.test(text)) return Number(text);
  if (type === "number" && /^-?\d+(?:\.\d+)?(?:[Ee][+-]?\d+)?$/.test(text)) return Number(text);
  return text;
}

/** The value of a field in the JSON of its message, whichever way it is spelled there. */
export function get(object: JsonObject, field: DescField): JsonValue | undefined {
  for (const name of [field.jsonName, field.name]) if (Object.hasOwn(object, name)) return object[name];
  return undefined;
}

/** Sets a field in the JSON of its message, so that neither spelling of it holds another value. */
export function put(object: JsonObject, field: DescField, value: JsonValue): void {
  delete object[field.name];
  object[field.jsonName] = value;
}

/** The object in which the last of the fields lies; those on the way to it are made as needed. */
export function reach(object: JsonObject, fields: readonly DescField[]): JsonObject {
  for (const field of fields.slice(0, -1)) {
    const inner = get(object, field) ?? {};
    if (!isObject(inner)) throw new InvalidRequest(`field "${field.jsonName}" must be an object`);
    put(object, field, inner);
    object = inner;
  }
  return object;
}
