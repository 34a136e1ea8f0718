import {
  type DescField,
  type DescMessage,
  type DescOneof,
  getOption,
  type JsonObject,
  type JsonValue,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { rest_field } from "#gen/patchbay/options/v1/options_pb.js";
import { jsonType, nameType, uint64 } from "#src/json/json-type.ts";
import { isObject } from "#src/json/object.ts";
import { commentOf } from "#src/platform/comments.ts";
import { isRequired, keywordsOf, merged, neededIn, schemasOf } from "./rules.ts";

/** Whether a schema is of what callers send or of what they are answered. */
export type Direction = "input" | "output";

/** Makes the JSON Schemas of one document; `named` collects those that the others refer to. */
export function createSchemas() {
  const named: Record<string, JsonObject> = {};
  const owners = new Map<string, DescMessage>();

  function reference(message: DescMessage, direction: Direction): JsonObject {
    const name = direction === "input" ? `${message.name}Input` : message.name;
    const owner = owners.get(name) ?? message;
    if (owner !== message) throw new Error(`${owner.typeName} and ${message.typeName} need different names`);
    if (!owners.has(name)) {
      owners.set(name, message);
      named[name] = ofMessage(message, direction);
    }
    return { $ref: `#/components/schemas/${name}` };
  }

  /** Any JSON that a request can hold. */
  function anyJson(): JsonObject {
    const self = { $ref: "#/components/schemas/Json" };
    named.Json ??= {
      description: "Any JSON.",
      ...withoutNul,
      propertyNames: withoutNul,
      items: self,
      additionalProperties: self,
    };
    return self;
  }

  function ofMessage(
    message: DescMessage,
    direction: Direction,
    without: readonly DescField[] = [],
  ): JsonObject {
    const isInput = direction === "input";
    const fields = message.fields.filter((field) => !without.includes(field) && !isRefused(field));
    const needed = isInput ? neededIn(message) : new Set(fields.filter(isAlwaysThere));
    const required = fields.filter((field) => needed.has(field)).map(({ jsonName }) => jsonName);
    const choices = message.oneofs.flatMap((oneof) => choiceOf(oneof, fields, needed.has(oneof)));
    const rules = isInput ? [...choices, ...schemasOf(message)] : choices;
    return {
      type: "object",
      description: commentOf(message),
      ...(required.length > 0 && { required }),
      properties: Object.fromEntries(
        fields.map((field) => [field.jsonName, orNull(field, ofField(field, direction))]),
      ),
      ...(isInput && { additionalProperties: false }),
      ...(rules.length > 1 ? { allOf: rules } : rules[0]),
    };
  }

  function ofField(field: DescField, direction: Direction): JsonObject {
    const description = commentOf(field);
    return {
      ...(direction === "input" ? asGiven(field) : inShape(field, asAnswered(field))),
      ...(description && { description }),
    };
  }

  function asGiven(field: DescField): JsonObject {
    const names = field.fieldKind === "map" ? { propertyNames: nameType(field) } : {};
    const shape = { ...inShape(field, given(field)), ...names };
    return textsWithoutNul(unsignedIfNotNegative(merged(shape, keywordsOf(field))));
  }

  function given(field: DescField): JsonObject {
    const { message } = field;
    if (message && isOurs(message)) return reference(message, "input");
    const type = jsonType(field);
    switch (message?.typeName) {
      case "google.protobuf.Value":
        return anyJson();
      case "google.protobuf.Struct":
        return { ...type, propertyNames: { type: "string" }, additionalProperties: anyJson() };
      case "google.protobuf.ListValue":
        return { ...type, items: anyJson() };
      default:
        return type;
    }
  }

  /** Readers must expect enum values that are not known yet. */
  function asAnswered(field: DescField): JsonObject {
    if (field.message && isOurs(field.message)) return reference(field.message, "output");
    const { type, enum: names, pattern: _all, minimum: _least, maximum: _most, ...rest } = jsonType(field);
    if (names !== undefined) return { anyOf: [{ enum: names }, { type: "string" }] };
    return { ...(type !== undefined && { type: Array.isArray(type) ? "string" : type }), ...rest };
  }

  return { named, reference, ofMessage, ofField };
}

/** The schemas of one document. */
export type Schemas = ReturnType<typeof createSchemas>;

function isOurs(message: DescMessage): boolean {
  return !message.typeName.startsWith("google.protobuf.");
}

function isRefused(field: DescField): boolean {
  return getOption(field, rest_field).refused;
}

/** In answers, fields without presence are always there (`alwaysEmitImplicit`). */
function isAlwaysThere(field: DescField): boolean {
  return field.presence === Presence.IMPLICIT || isRequired(field);
}

/** How many of the fields of a oneof may be there, or must. */
function choiceOf(oneof: DescOneof, fields: readonly DescField[], mustBe: boolean): JsonObject[] {
  const names = oneof.fields.filter((field) => fields.includes(field)).map(({ jsonName }) => jsonName);
  if (mustBe) return [{ oneOf: names.map((name) => ({ required: [name] })) }];
  const pairs = names.flatMap((name, index) =>
    names.slice(index + 1).map((other) => ({ required: [name, other] })),
  );
  return pairs.length === 0 ? [] : [{ not: pairs.length === 1 ? pairs[0]! : { anyOf: pairs } }];
}

/** Null clears a field that can be cleared; nothing else takes it. */
function orNull(field: DescField, { description, ...schema }: JsonObject): JsonObject {
  const taken = getOption(field, rest_field).clearable
    ? typeof schema.type === "string" && schema.enum === undefined
      ? { ...schema, type: [schema.type, "null"] }
      : { anyOf: [schema, { type: "null" }] }
    : schema;
  return description === undefined ? taken : { ...taken, description };
}

function inShape(field: DescField, one: JsonObject): JsonObject {
  if (field.fieldKind === "list") return { type: "array", items: one };
  return field.fieldKind === "map" ? { type: "object", additionalProperties: one } : one;
}

const withoutNul: JsonObject = { pattern: String.raw`^[^\u0000]*$` };

/** No text of a request can hold NUL, whatever else is said of it. */
function textsWithoutNul(schema: JsonObject): JsonObject {
  const isFree = schema.type === "string" && ["pattern", "enum", "const"].every((word) => !(word in schema));
  const inner = ["items", "propertyNames", "additionalProperties"].flatMap((word): [string, JsonValue][] => {
    const part = schema[word];
    return isObject(part) ? [[word, textsWithoutNul(part)]] : [];
  });
  return { ...schema, ...(isFree && withoutNul), ...Object.fromEntries(inner) };
}

/** Minima are for numbers, and 64-bit ones come as texts too. */
function unsignedIfNotNegative(schema: JsonObject): JsonObject {
  if (isObject(schema.items)) return { ...schema, items: unsignedIfNotNegative(schema.items) };
  return schema.format === "int64" && schema.minimum === 0 ? { ...schema, pattern: uint64.pattern } : schema;
}
