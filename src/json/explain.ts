import { type DescField, type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { fieldNamed, unknown } from "./field-names.ts";
import { inWords } from "./json-type.ts";
import { isObject } from "./object.ts";

/**
 * Why `fromJson` refuses this JSON, naming the field and never a value: the errors of `fromJson` repeat values, and a
 * value may be a secret. Undefined if no reason is found.
 */
export function explain(message: DescMessage, json: JsonValue, at = ""): string | undefined {
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
    const problem = explainField(field, value, prefix + field.jsonName);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function explainField(field: DescField, value: JsonValue, at: string): string | undefined {
  const inner =
    field.message && !field.message.typeName.startsWith("google.protobuf.") ? field.message : undefined;
  if (inner && field.fieldKind === "list" && Array.isArray(value)) {
    return first(value.entries(), ([index, item]) => explain(inner, item, `${at}[${index}]`));
  }
  if (inner && field.fieldKind === "message" && value !== null) return explain(inner, value, at);
  const values = inner && field.fieldKind === "map" && isObject(value) ? Object.values(value) : [];
  const problem = first(values, (item) => explain(inner!, item, `${at}[…]`));
  return problem ?? (accepts(field, value) ? undefined : `field "${at}" must be ${inWords(field)}`);
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

function accepts(field: DescField, value: JsonValue): boolean {
  try {
    fromJson(field.parent, { [field.jsonName]: value });
    return true;
  } catch {
    return false;
  }
}
