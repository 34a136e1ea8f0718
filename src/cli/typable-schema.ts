import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";

/** Puts what a schema says about types into words that the library of types is good at. */
export type Typable = (schema: JsonValue) => JsonObject;

// What the library makes of words that only it has. No document gets to use them.
const unknown: JsonObject = { tsType: "unknown" };
const never: JsonObject = { tsType: "never" };

/**
 * For schemas that refer to these definitions. Nothing else of a schema gets to the library, which takes code from some
 * keywords, puts others into comments as they are, and reads files that a reference names.
 */
export function typableWith(definitions: JsonObject): Typable {
  const byReference = new Map(Object.entries(definitions).map(([name, one]) => [referenceTo(name), one]));

  /** The schema at the end of the reference; undefined if there are only further references, in a circle. */
  function targetOf(
    reference: JsonValue | undefined,
    seen: readonly JsonValue[] = [],
  ): JsonValue | undefined {
    if (typeof reference !== "string" || seen.includes(reference)) return undefined;
    const found = byReference.get(reference);
    const next = isObject(found) ? found["$ref"] : undefined;
    return next === undefined ? found : targetOf(next, [...seen, reference]);
  }

  function typable(schema: JsonValue): JsonObject {
    if (!isObject(schema)) return schema === false ? never : unknown;
    const { $ref, description, deprecated } = schema;
    const target = targetOf($ref);
    const referring = isObject(target) ? [{ $ref: $ref ?? "" }] : target === false ? [never] : [];
    const parts = [...referring, ...shapeOf(schema), ...choicesOf(schema)].filter(
      (part) => !saysNothing(part),
    );
    // What stands beside a reference would make another type of the same members.
    if (referring.length === 1 && parts.length === 1) return referring[0] ?? unknown;
    return {
      ...(typeof description === "string" && { description }),
      ...(deprecated === true && { deprecated }),
      ...(parts.length > 1 ? { allOf: parts } : (parts[0] ?? unknown)),
    };
  }

  /** Each in a part of its own: the library fails at a schema with members and alternatives that leads to itself. */
  function choicesOf({ enum: values, const: value, anyOf, oneOf, allOf }: JsonObject): JsonObject[] {
    return [
      ...(Array.isArray(values) ? [{ enum: values }] : []),
      ...(value === undefined ? [] : [{ enum: [value] }]),
      ...[anyOf, oneOf].flatMap((some) => (Array.isArray(some) ? anyOfThem(some.map(typable)) : [])),
      ...(Array.isArray(allOf) ? allOf.map(typable) : []),
    ];
  }

  function shapeOf(schema: JsonObject): JsonObject[] {
    const { type = typeBy(schema), enum: values, const: value, items, prefixItems } = schema;
    if (type === undefined || values !== undefined || value !== undefined) return [];
    const types = [type].flat();
    return [
      {
        type,
        ...(types.includes("object") && membersOf(schema)),
        ...(types.includes("array") && itemsOf(items, prefixItems)),
      },
    ];
  }

  function membersOf({ properties = {}, required, ...others }: JsonObject): JsonObject {
    const known = isObject(properties) ? properties : {};
    const { additionalProperties = Object.keys(known).length === 0, patternProperties = {} } = others;
    const further = [
      ...(isObject(patternProperties) ? Object.values(patternProperties) : []),
      ...(additionalProperties === false ? [] : [additionalProperties]),
    ];
    return {
      properties: mapSchemas(known, typable),
      required: Array.isArray(required) ? required : [],
      additionalProperties: further.length > 0 && { anyOf: further.map(typable) },
    };
  }

  function itemsOf(items: JsonValue | undefined, prefixItems: JsonValue | undefined): JsonObject {
    if (!Array.isArray(prefixItems)) return { items: typable(items ?? true) };
    const further = items === false ? false : typable(items ?? true);
    return { items: prefixItems.map(typable), additionalItems: further };
  }

  return typable;
}

/** Each schema by its name. */
export function mapSchemas(schemas: JsonObject, map: Typable): JsonObject {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, map(schema)]));
}

function typeBy(schema: JsonObject): string | undefined {
  if ("properties" in schema || "additionalProperties" in schema || "patternProperties" in schema)
    return "object";
  return "items" in schema || "prefixItems" in schema ? "array" : undefined;
}

/** Nothing is said if one of them says nothing, such as which members are needed. */
function anyOfThem(schemas: readonly JsonObject[]): JsonObject[] {
  return schemas.some(saysNothing) ? [] : [{ anyOf: [...schemas] }];
}

function saysNothing({ tsType }: JsonObject): boolean {
  return tsType === unknown["tsType"];
}

function referenceTo(name: string): string {
  return `#/$defs/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
