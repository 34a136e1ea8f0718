import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";

/** JSON, as `JSON.parse` answers it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
/** A JSON Schema, or another part of an OpenAPI document. */
export type Schema = { readonly [word: string]: Json };
/** What is to be taken in place of what a schema says, by the names of the properties on the way there. */
export type StandIns = (way: string) => fc.Arbitrary<Json> | undefined;

/** Looks at JSON through the schemas of an OpenAPI document. */
export interface JsonSchemas {
  /** Why a value is not valid; undefined if it is. What formats demand is in patterns too, so formats only inform. */
  problemOf(schema: Schema): (value: Json) => string | undefined;
  /** Values that are valid. */
  valid(schema: Schema, standIns?: StandIns): fc.Arbitrary<Json>;
  /** The schema that is referred to, with what is said beside the reference. */
  resolve(schema: Schema): Schema;
}

/** JSON as a person would write it into a form or a URL. */
export function textOf(json: Json | undefined): string {
  return typeof json === "string" ? json : JSON.stringify(json);
}

/** Reads the schemas of a document, which may refer to its components. */
export function jsonSchemasOf(document: Schema): JsonSchemas {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });

  function problemOf(schema: Schema) {
    const validate = ajv.compile({ ...schema, components: document.components });
    return (value: Json) => (validate(value) ? undefined : ajv.errorsText(validate.errors));
  }

  function resolve({ $ref, ...beside }: Schema): Schema {
    if (typeof $ref !== "string") return beside;
    const found = $ref
      .slice("#/".length)
      .split("/")
      .reduce<Json | undefined>((part, name) => (part as Schema)[name], document as Json);
    return { ...(found as Schema), ...beside };
  }

  /** Values that types and limits allow; those that break other rules are dropped in the end. */
  function likely(schema: Schema, way: string, standIns: StandIns): fc.Arbitrary<Json> {
    const standIn = standIns(way);
    if (standIn !== undefined) return standIn;
    const { anyOf, enum: values, type, ...rest } = resolve(schema);
    const inner = (part: Json | undefined, name = "") =>
      likely((part ?? {}) as Schema, [way, name].filter(Boolean).join("."), standIns);
    if (Array.isArray(anyOf)) return fc.oneof(...anyOf.map((one) => inner(one)));
    if (Array.isArray(values)) return fc.constantFrom(...values);
    if (Array.isArray(type)) return fc.oneof(...type.map((one) => inner({ ...rest, type: one })));
    switch (type) {
      case "null":
        return fc.constant(null);
      case "boolean":
        return fc.boolean();
      case "integer":
        return fc.integer(limits(rest, { min: "minimum", max: "maximum" }));
      case "number":
        return fc.double({ noNaN: true, noDefaultInfinity: true });
      case "string":
        return stringOf(rest);
      case "array":
        return listOf(rest, inner(rest.items));
      case "object":
        return rest.properties === undefined ? mapOf(rest, inner) : recordOf(rest, inner);
      default:
        return fc.jsonValue({ maxDepth: 2, stringUnit: "binary" }) as fc.Arbitrary<Json>;
    }
  }

  return {
    problemOf,
    resolve,
    valid(schema, standIns = () => undefined) {
      const check = problemOf(schema);
      return likely(schema, "", standIns).filter((value) => check(value) === undefined);
    },
  };
}

const size = "small";

type Inner = (schema: Json | undefined, name?: string) => fc.Arbitrary<Json>;

function recordOf({ properties, required = [] }: Schema, inner: Inner): fc.Arbitrary<Json> {
  const members = Object.entries(properties as Schema).map(([name, member]): [string, fc.Arbitrary<Json>] => [
    name,
    inner(member, name),
  ]);
  return fc.record(Object.fromEntries(members), { requiredKeys: required as string[] });
}

/** Most are short, so that they are cheap; some are as long as they may be. */
function sometimes<T>(usual: fc.Arbitrary<T>, longest: fc.Arbitrary<T> | undefined): fc.Arbitrary<T> {
  if (longest === undefined) return usual;
  return fc.oneof({ arbitrary: usual, weight: 30 }, { arbitrary: longest, weight: 1 });
}

function listOf(schema: Schema, items: fc.Arbitrary<Json>): fc.Arbitrary<Json> {
  const length = limits(schema, { minLength: "minItems", maxLength: "maxItems" });
  const { maxLength } = length;
  const longest =
    maxLength === undefined ? undefined : items.map((item) => Array<Json>(maxLength).fill(item));
  return sometimes<Json>(fc.array(items, { ...length, size }), longest);
}

function mapOf(schema: Schema, inner: Inner): fc.Arbitrary<Json> {
  const names = stringOf((schema.propertyNames ?? {}) as Schema);
  const counts = limits(schema, { minKeys: "minProperties", maxKeys: "maxProperties" });
  return fc.dictionary(names, inner(schema.additionalProperties, "*"), { ...counts, size });
}

function stringOf(schema: Schema): fc.Arbitrary<string> {
  if (schema.contentEncoding === "base64")
    return fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64"));
  const pattern = textOf(schema.pattern ?? "");
  // What may be anything but NUL is made of all characters, and not of those that patterns are mostly made of.
  if (pattern !== "" && !pattern.startsWith(String.raw`^[^\u0000]`))
    return fc.stringMatching(new RegExp(pattern, "u"));
  const length = limits(schema, { minLength: "minLength", maxLength: "maxLength" });
  const { maxLength } = length;
  // Characters that take two units in memory, since lengths are counted in characters.
  const longest = maxLength === undefined ? undefined : fc.constant("🙂".repeat(maxLength));
  return sometimes(fc.string({ ...length, unit: "binary", size }), longest);
}

/** The limits that the schema has, by other names. */
function limits<Name extends string>(
  schema: Schema,
  words: Readonly<Record<Name, string>>,
): Partial<Record<Name, number>> {
  const known = Object.entries<string>(words).filter(([, word]) => typeof schema[word] === "number");
  return Object.fromEntries(known.map(([name, word]) => [name, schema[word]])) as Partial<
    Record<Name, number>
  >;
}
