import type { DescField, DescMessage, JsonValue } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { InvalidRequest } from "#src/platform/errors.ts";
import { fieldNamed } from "./field-names.ts";
import { isObject } from "./object.ts";

/**
 * Refuses days and hours that do not exist, in JSON that `fromJson` accepts: it reads the 30th of February as the 2nd
 * of March, and another time would be stored than the client gave.
 */
export function refuseImpossibleTimes(message: DescMessage, json: JsonValue, prefix = ""): void {
  if (!isObject(json)) return;
  for (const [name, value] of Object.entries(json)) {
    const field = fieldNamed(message, name);
    if (field?.message === undefined) continue;
    const at = prefix + field.jsonName;
    for (const [place, one] of valuesOf(field, value)) refuseIn(field.message, one, at + place);
  }
}

function refuseIn(message: DescMessage, json: JsonValue, at: string): void {
  if (message.typeName !== TimestampSchema.typeName) return refuseImpossibleTimes(message, json, `${at}.`);
  if (typeof json === "string" && !isPossibleTime(json)) {
    throw new InvalidRequest(`field "${at}" must be a time that exists, such as 2026-01-31T08:00:00Z`);
  }
}

/** The field's one value, or each of several with its place. */
function valuesOf({ fieldKind }: DescField, json: JsonValue): [place: string, value: JsonValue][] {
  if (fieldKind === "list" && Array.isArray(json)) return json.map((item, index) => [`[${index}]`, item]);
  if (fieldKind === "map" && isObject(json)) return Object.values(json).map((item) => ["[…]", item]);
  return [["", json]];
}

/** Whether the text survives being read as a date, and the day has that hour: RFC 3339 has no 24:00. */
export function isPossibleTime(text: string): boolean {
  const date = text.slice(0, "2026-01-31".length);
  return new Date(`${date}T00:00:00Z`).toISOString().startsWith(date) && !text.includes("T24");
}
