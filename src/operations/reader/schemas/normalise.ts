import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { keywords } from "./keywords.ts";
import type { Needs } from "../needs.ts";
import type { Problems } from "../problems.ts";
import { at, BrokenReference, refOf, type Place, type References } from "./references.ts";
import type { StyleTable } from "#src/operations/operation.ts";

/** A JSON Schema: `true` is one as well. */
export type Schema = JsonObject | boolean;

/** Where a schema is read. */
export interface SchemaReading {
  readonly table: StyleTable;
  readonly references: References;
  readonly problems: Problems;
  /** The name of the definition that the node becomes. */
  readonly nameOf: (place: Place) => string;
  /** What is read needs them. */
  readonly needs: Needs;
  /** Whether it is held to the same value as the definition that it is in. */
  readonly isSameValue: boolean;
}

/**
 * The node as JSON Schema 2020-12: what only OpenAPI knows is put in its words or left out, and so is what is wrong.
 * References become those to definitions.
 */
export function schemaFrom(place: Place, reading: SchemaReading): Schema {
  const { value, pointer } = place;
  if (typeof value === "boolean") return value;
  if (!isObject(value)) {
    reading.needs.isWider = true;
    reading.problems.add(pointer, "is no schema, so anything is accepted there");
    return {};
  }
  const schema: JsonObject = {};
  if (refOf(value) !== undefined) Object.assign(schema, referenceTo(at(place, "$ref"), reading));
  for (const [keyword, read] of keywords) {
    if (!Object.hasOwn(value, keyword) || isIgnored(keyword, value, reading)) continue;
    Object.assign(schema, read(at(place, keyword), { ...reading, read: schemaFrom, schema: value }));
  }
  return value["nullable"] === true || value["x-nullable"] === true ? orNull(schema) : schema;
}

/** A reference to the definition that the node becomes; one that leads nowhere accepts anything. */
function referenceTo(place: Place, reading: SchemaReading): JsonObject {
  const { references, problems, needs, isSameValue } = reading;
  const ref = typeof place.value === "string" ? place.value : "";
  try {
    const name = reading.nameOf(references.find(ref, place.pointer));
    needs.names.add(name);
    if (isSameValue) needs.sameValue.set(name, place.pointer);
    return { $ref: `#/$defs/${name}` };
  } catch (error) {
    if (!(error instanceof BrokenReference)) throw error;
    needs.isWider = true;
    if (error.isOutside) needs.outside.add(ref);
    problems.add(
      place.pointer,
      `${error.message}${error.isOutside ? "" : ", so anything is accepted there"}`,
    );
    return {};
  }
}

/** Before 3.1, whatever is beside a reference means nothing, but authors wrote texts for people there. */
function isIgnored(keyword: string, schema: JsonObject, { table }: SchemaReading): boolean {
  return table === "3.0" && refOf(schema) !== undefined && !annotations.includes(keyword);
}

const annotations = ["title", "description", "default", "deprecated", "readOnly", "writeOnly"];

/** What decides about the value together with `type`. */
const applicators = ["$ref", "allOf", "anyOf", "oneOf", "not", "if", "const"];

function orNull(schema: JsonObject): JsonObject {
  const { type, enum: values } = schema;
  if (applicators.some((keyword) => schema[keyword] !== undefined)) {
    const [kept, rest] = splitAnnotations(schema);
    return { ...kept, anyOf: [rest, { type: "null" }] };
  }
  return {
    ...schema,
    ...(type !== undefined && { type: withNull([type].flat(), "null") }),
    ...(Array.isArray(values) && { enum: withNull(values, null) }),
  };
}

function withNull(list: JsonValue[], nothing: "null" | null): JsonValue[] {
  return list.includes(nothing) ? list : [...list, nothing];
}

function splitAnnotations(schema: JsonObject): [JsonObject, JsonObject] {
  const kept: JsonObject = {};
  const rest: JsonObject = {};
  for (const [keyword, value] of Object.entries(schema))
    (annotations.includes(keyword) ? kept : rest)[keyword] = value;
  return [kept, rest];
}
