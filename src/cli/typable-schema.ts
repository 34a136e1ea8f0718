import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";

/** Leaves of a schema what says something about types. */
export type Typable = (schema: JsonValue) => JsonValue;

/**
 * For schemas that refer to these definitions. It answers in the older words that the library of types knows, and lets
 * nothing else through: the library takes code from some keywords (`tsType`), and reads files that a reference names.
 */
export function typableWith(definitions: JsonObject): Typable {
  const byReference = new Map(Object.entries(definitions).map(([name, one]) => [referenceTo(name), one]));

  /** Whether there is a schema at the end of the reference, and not only further references in a circle. */
  function leadsOn(reference: JsonValue | undefined, seen: readonly JsonValue[] = []): boolean {
    if (typeof reference !== "string" || seen.includes(reference)) return false;
    const found = byReference.get(reference);
    if (!isObject(found) || !("$ref" in found)) return found !== undefined;
    return leadsOn(found["$ref"], [...seen, reference]);
  }

  function typable(schema: JsonValue): JsonValue {
    if (!isObject(schema)) return schema;
    const kept = Object.fromEntries(
      Object.entries(schema).flatMap(([keyword, value]) => keptOf(schema, keyword, value)),
    );
    const { $ref } = schema;
    if ($ref === undefined || !leadsOn($ref)) return kept;
    // A description beside a reference would make another type of the same members.
    const { description: _, ...narrowing } = kept;
    return Object.keys(narrowing).length === 0 ? { $ref } : { allOf: [{ $ref }, kept] };
  }

  function keptOf(schema: JsonObject, keyword: string, value: JsonValue): [string, JsonValue][] {
    switch (keyword) {
      case "type":
      case "enum":
      case "const":
        return [[keyword, value]];
      case "required":
        return Array.isArray(value) ? [[keyword, value]] : [];
      case "deprecated":
        return [[keyword, value === true]];
      case "description":
        return typeof value === "string" ? [[keyword, commentText(value)]] : [];
      case "properties":
      case "patternProperties":
        return isObject(value) ? [[keyword, mapSchemas(value, typable)]] : [];
      case "prefixItems":
        return Array.isArray(value) ? [["items", value.map(typable)]] : [];
      case "items":
        return [["prefixItems" in schema ? "additionalItems" : keyword, typable(value)]];
      case "additionalProperties":
        return [[keyword, typable(value)]];
      case "anyOf":
      case "oneOf":
      case "allOf":
        return Array.isArray(value) ? [[keyword, value.map(typable)]] : [];
      default:
        return [];
    }
  }

  return typable;
}

/** Each schema by its name. But for `$ref`: the library takes every member of that name for a reference. */
export function mapSchemas(schemas: JsonObject, map: Typable): JsonObject {
  const members = Object.entries(schemas).filter(([name]) => name !== "$ref");
  return Object.fromEntries(members.map(([name, schema]) => [name, map(schema)]));
}

/** A foreign text in a comment, which must not end the comment: code would follow. */
export function commentText(text: string): string {
  return text.replaceAll("*/", "* /");
}

function referenceTo(name: string): string {
  return `#/$defs/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
