import {
  create,
  createRegistry,
  type DescField,
  type DescMessage,
  type DescOneof,
  getOption,
  type JsonObject,
  type JsonValue,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { createValidator } from "@bufbuild/protovalidate";
import {
  field as rulesOption,
  FieldRulesSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { rest_field, rest_schema } from "#gen/patchbay/options/v1/options_pb.js";
import { display_name } from "#gen/patchbay/options/v1/rules_pb.js";
import { isObject } from "#src/json/object.ts";
import { displayNamePattern } from "#src/platform/display-name.ts";

/** The rules of our own. */
const registry = createRegistry(display_name);
const validator = createValidator({ registry });

/** The fields and oneofs that a request cannot leave out: without them, it breaks their rules. */
export function neededIn(message: DescMessage): ReadonlySet<DescField | DescOneof> {
  const result = validator.validate(message, create(message));
  if (result.kind === "error") throw result.error;
  const broken = (result.violations ?? []).map(({ field: [first] }) => first);
  return new Set(broken.filter((part) => part?.kind === "field" || part?.kind === "oneof"));
}

/** Whether the rules say that the field is there, though its type would let it be absent. */
export function isRequired(field: DescField): boolean {
  return getOption(field, rulesOption).required;
}

/** JSON Schema's words for what the field is held to, by its rules and by the service's own code. */
export function keywordsOf(field: DescField): JsonObject {
  const { pattern, schema } = getOption(field, rest_field);
  const ofText = pattern === "" ? {} : { pattern };
  const ofTexts =
    field.fieldKind === "list"
      ? { items: ofText }
      : field.fieldKind === "map"
        ? { additionalProperties: ofText }
        : ofText;
  const more = schema === "" ? {} : (JSON.parse(schema) as JsonObject);
  return [ofRules(field), ofTexts, more].reduce(merged, {});
}

/** What the service's own code holds the whole message to, as schemas. */
export function schemasOf(message: DescMessage): JsonObject[] {
  const schema = getOption(message, rest_schema);
  return schema === "" ? [] : [JSON.parse(schema) as JsonObject];
}

/** The keywords of both, those of objects that both have joined in turn. */
export function merged(one: JsonObject, other: JsonObject): JsonObject {
  const result = { ...one };
  for (const [name, value] of Object.entries(other)) {
    const before = result[name];
    result[name] = isObject(before) && isObject(value) ? merged(before, value) : value;
  }
  return result;
}

function ofRules(field: DescField): JsonObject {
  const { required, ...rules } = rulesOf(field);
  // Each kind of field has an object of rules; expressions of CEL stand in lists, and no schema can say them.
  const kinds = Object.values(rules).filter(isObject);
  const said = kinds.map((ofKind) => wordsFor(ofKind, field)).reduce(merged, {});
  const needsValue = required === true && field.presence === Presence.IMPLICIT && !("enum" in said);
  return needsValue ? merged(notZero(field), said) : said;
}

function rulesOf(field: DescField): JsonObject {
  return toJson(FieldRulesSchema, getOption(field, rulesOption), { registry }) as JsonObject;
}

/** What is required without being optional must not be empty. */
function notZero({ fieldKind, scalar, enum: enumeration }: DescField): JsonObject {
  if (fieldKind === "list") return { minItems: 1 };
  if (fieldKind === "map") return { minProperties: 1 };
  if (enumeration) return { enum: enumeration.values.slice(1).map((value) => value.name) };
  if (scalar === ScalarType.STRING || scalar === ScalarType.BYTES) return { minLength: 1 };
  return { not: { const: scalar === ScalarType.BOOL ? false : 0 } };
}

/** Throws for a rule without a word, so that the document cannot leave one out unseen. */
function wordsFor(rules: JsonObject, field: DescField): JsonObject {
  return Object.entries(rules)
    .map(([name, value]): JsonObject => {
      if (name === "items") return { items: wordsOfKind(value, field) };
      if (name === "keys") return { propertyNames: wordsOfKind(value, field) };
      if (name === "values") return { additionalProperties: wordsOfKind(value, field) };
      const word = words[name];
      if (word === undefined) {
        throw new Error(`${String(field)}: no word of JSON Schema for the rule ${name}; give it one here`);
      }
      return word(value);
    })
    .reduce(merged, {});
}

function wordsOfKind(rules: JsonValue, field: DescField): JsonObject {
  const kinds = isObject(rules) ? Object.values(rules).filter(isObject) : [];
  return kinds.map((ofKind) => wordsFor(ofKind, field)).reduce(merged, {});
}

/** HTML's, which protovalidate follows. */
const email =
  "^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$";

// 64-bit numbers come as strings.
const number = (keyword: string) => (value: JsonValue) => ({ [keyword]: Number(value) });
const same = (keyword: string) => (value: JsonValue) => ({ [keyword]: value });

const words: Readonly<Record<string, (value: JsonValue) => JsonObject>> = {
  len: (value) => ({ minLength: Number(value), maxLength: Number(value) }),
  minLen: number("minLength"),
  maxLen: number("maxLength"),
  minItems: number("minItems"),
  maxItems: number("maxItems"),
  minPairs: number("minProperties"),
  maxPairs: number("maxProperties"),
  gt: number("exclusiveMinimum"),
  gte: number("minimum"),
  lt: number("exclusiveMaximum"),
  lte: number("maximum"),
  pattern: same("pattern"),
  const: same("const"),
  in: same("enum"),
  notIn: (value) => ({ not: { enum: value } }),
  unique: same("uniqueItems"),
  [`[${display_name.typeName}]`]: () => ({ pattern: displayNamePattern }),
  email: () => ({ format: "email", pattern: email }),
  // Over REST, enum values are given by name, and other names are none.
  definedOnly: () => ({}),
};
