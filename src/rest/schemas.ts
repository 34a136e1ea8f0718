import {
  createRegistry,
  type DescField,
  type DescMessage,
  getOption,
  type JsonObject,
  type JsonValue,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import {
  field as rulesOption,
  FieldRulesSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { display_name } from "#gen/patchbay/options/v1/rules_pb.js";
import { displayNamePattern } from "#src/platform/display-name.ts";
import { commentOf } from "./comments.ts";
import { isObject } from "#src/json/object.ts";
import { jsonType } from "#src/json/json-type.ts";

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

  function ofMessage(
    message: DescMessage,
    direction: Direction,
    without: readonly unknown[] = [],
  ): JsonObject {
    const fields = message.fields.filter((field) => !without.includes(field));
    // In answers, fields without presence are always there (`alwaysEmitImplicit`).
    const isAlwaysThere = (field: DescField) =>
      direction === "input" ? isRequired(field) : field.presence === Presence.IMPLICIT;
    const required = fields.filter(isAlwaysThere).map((field) => field.jsonName);
    return {
      type: "object",
      description: commentOf(message),
      ...(required.length > 0 && { required }),
      properties: Object.fromEntries(fields.map((field) => [field.jsonName, ofField(field, direction)])),
      ...(direction === "input" && { additionalProperties: false }),
    };
  }

  function ofField(field: DescField, direction: Direction): JsonObject {
    const isOwn = field.message && !field.message.typeName.startsWith("google.protobuf.");
    const one = isOwn ? reference(field.message, direction) : jsonType(field);
    const rules = rulesOf(field);
    const shape = inShape(field, one, rules);
    // Null stands for "not set", which clears the field in a PATCH.
    const isNullable = direction === "input" && field.presence === Presence.EXPLICIT && !rules.required;
    const description = [commentOf(field), alternatives(field)].filter(Boolean).join("\n\n");
    return {
      ...shape,
      ...(isNullable && typeof shape.type === "string" && !shape.enum && { type: [shape.type, "null"] }),
      ...limitsOf(field, rules),
      ...(description && { description }),
    };
  }

  return { named, reference, ofMessage, ofField };
}

/** The schemas of one document. */
export type Schemas = ReturnType<typeof createSchemas>;

/** Whether a request without the field is refused. */
export function isRequired(field: DescField): boolean {
  return rulesOf(field).required === true;
}

const registry = createRegistry(display_name);

function rulesOf(field: DescField): JsonObject {
  return toJson(FieldRulesSchema, getOption(field, rulesOption), { registry }) as JsonObject;
}

function inShape(field: DescField, one: JsonObject, rules: JsonObject): JsonObject {
  if (field.fieldKind === "map") return { type: "object", additionalProperties: one };
  if (field.fieldKind !== "list") return one;
  const itemRules = isObject(rules.repeated) && isObject(rules.repeated.items) ? rules.repeated.items : {};
  return { type: "array", items: { ...one, ...limitsOf(field, itemRules) } };
}

function alternatives(field: DescField): string {
  const names = field.oneof?.fields.map(({ jsonName }) => `\`${jsonName}\``);
  return names === undefined ? "" : `At most one of ${names.join(", ")}.`;
}

/** JSON Schema's words for the rules of protovalidate that it can say. */
const keywords: Readonly<Record<string, string>> = {
  minLen: "minLength",
  maxLen: "maxLength",
  pattern: "pattern",
  minItems: "minItems",
  maxItems: "maxItems",
  minPairs: "minProperties",
  maxPairs: "maxProperties",
  gt: "exclusiveMinimum",
  gte: "minimum",
  lt: "exclusiveMaximum",
  lte: "maximum",
  in: "enum",
};

function limitsOf(field: DescField, rules: JsonObject): JsonObject {
  const limits: JsonObject = {};
  // A text that is required without being optional must not be empty.
  if (rules.required && field.presence === Presence.IMPLICIT && field.scalar === ScalarType.STRING)
    limits.minLength = 1;
  for (const [name, value] of Object.values(rules)
    .filter(isObject)
    .flatMap(Object.entries<JsonValue>)) {
    if (name === `[${display_name.typeName}]`) limits.pattern = displayNamePattern;
    const keyword = keywords[name];
    // 64-bit numbers come as strings.
    if (keyword) limits[keyword] = typeof value === "string" && name !== "pattern" ? Number(value) : value;
  }
  return limits;
}
