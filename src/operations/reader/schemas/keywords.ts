import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import type { Schema, SchemaReading } from "./normalise.ts";
import { soundPattern } from "./patterns.ts";
import { below } from "../pointer.ts";
import { at, BrokenReference, within, type Place, type References } from "./references.ts";

/** The schema that a keyword stands in, and how those in it are read. */
export interface KeywordReading extends SchemaReading {
  readonly schema: JsonObject;
  readonly read: (place: Place, reading: SchemaReading) => Schema;
}

/** What the keyword at the place becomes, which is nothing where it is wrong. */
type Keyword = (place: Place, reading: KeywordReading) => JsonObject;

/** All that schemas keep; what is not here is dropped. */
export const keywords: ReadonlyMap<string, Keyword> = new Map<string, Keyword>([
  ...each(["title", "description", "format", "contentEncoding", "contentMediaType"], value(isText, "a text")),
  ...each(["deprecated", "readOnly", "writeOnly", "uniqueItems"], value(isBoolean, "true or false")),
  ...each(
    ["const", "default"],
    value(() => true, ""),
  ),
  ...each(["minimum", "maximum"], bound),
  ...each(["exclusiveMinimum", "exclusiveMaximum"], exclusiveBound),
  ["multipleOf", value((given) => isNumber(given) && given > 0, "a number above 0")],
  ...each(
    [
      "minLength",
      "maxLength",
      "minItems",
      "maxItems",
      "minProperties",
      "maxProperties",
      "minContains",
      "maxContains",
    ],
    value((given) => isNumber(given) && Number.isInteger(given) && given >= 0, "a whole number from 0"),
  ),
  ["type", types],
  ["enum", choices],
  ["pattern", pattern],
  ["required", required],
  ["items", items],
  ...each(["prefixItems"], list(false)),
  ...each(["allOf", "anyOf"], list(true)),
  ["oneOf", oneOf],
  ...each(["not", "if", "then", "else"], inner(true)),
  ["additionalProperties", additionalProperties],
  ...each(["propertyNames", "contains", "unevaluatedItems", "unevaluatedProperties"], inner(false)),
  ...each(["properties"], named(false)),
  ["patternProperties", patternProperties],
  ["dependentSchemas", named(true)],
  ["dependentRequired", dependentRequired],
  ...each(["$dynamicRef", "$recursiveRef", "dependencies"], (place, reading) =>
    wrong(place, reading, `${nameOf(place)} is not read`),
  ),
]);

function each(names: readonly string[], read: Keyword): [string, Keyword][] {
  return names.map((name) => [name, read]);
}

function wrong({ pointer }: Place, { problems, needs }: KeywordReading, reason: string): JsonObject {
  needs.isWider = true;
  problems.add(pointer, `${reason}, so it is left out`);
  return {};
}

/** The keyword itself, by the last step of its pointer, in which none has an escape. */
function nameOf({ pointer }: Place): string {
  return pointer.slice(pointer.lastIndexOf("/") + 1);
}

function value(isRight: (given: JsonValue | undefined) => boolean, what: string): Keyword {
  return (place, reading) =>
    isRight(place.value)
      ? { [nameOf(place)]: place.value ?? null }
      : wrong(place, reading, `${nameOf(place)} is not ${what}`);
}

function isText(given: JsonValue | undefined): given is string {
  return typeof given === "string";
}

function isBoolean(given: JsonValue | undefined): given is boolean {
  return typeof given === "boolean";
}

function isNumber(given: JsonValue | undefined): given is number {
  return typeof given === "number" && Number.isFinite(given);
}

const exclusives: Readonly<Record<string, string>> = {
  minimum: "exclusiveMinimum",
  maximum: "exclusiveMaximum",
};

/** Before 3.1, `exclusiveMinimum: true` says how `minimum` is meant. */
function bound(place: Place, reading: KeywordReading): JsonObject {
  const name = nameOf(place);
  const exclusive = exclusives[name] ?? name;
  if (!isNumber(place.value)) return wrong(place, reading, `${name} is not a number`);
  return { [reading.schema[exclusive] === true ? exclusive : name]: place.value };
}

function exclusiveBound(place: Place, reading: KeywordReading): JsonObject {
  if (isBoolean(place.value)) return {};
  return isNumber(place.value)
    ? { [nameOf(place)]: place.value }
    : wrong(place, reading, `${nameOf(place)} is not a number`);
}

const knownTypes = ["null", "boolean", "object", "array", "number", "string", "integer"];

function types(place: Place, reading: KeywordReading): JsonObject {
  // In YAML, null is easily written without quotes.
  const given = [place.value ?? null].flat().map((type) => type ?? "null");
  const known = knownTypes.filter((type) => given.includes(type));
  if (known.length < new Set(given).size || known.length === 0) {
    return wrong(place, reading, `${shown(place.value)} is no type of JSON Schema`);
  }
  const [only, ...others] = known;
  return { type: others.length === 0 && only !== undefined ? only : known };
}

function choices(place: Place, reading: KeywordReading): JsonObject {
  return Array.isArray(place.value) && place.value.length > 0
    ? { enum: place.value }
    : wrong(place, reading, "enum lists no value");
}

function pattern(place: Place, reading: KeywordReading): JsonObject {
  const sound = isText(place.value) ? soundPattern(place.value) : undefined;
  return sound === undefined ? wrong(place, reading, patternReason(place.value)) : { pattern: sound };
}

function patternReason(given: JsonValue | undefined): string {
  return `pattern ${shown(given)} is not in the syntax of RE2, which has no look-around and no back references`;
}

/** Without what only answers hold, or only requests: the schema is used for both. */
function required(place: Place, reading: KeywordReading): JsonObject {
  const { value: given } = place;
  if (!Array.isArray(given) || !given.every(isText)) {
    return wrong(place, reading, "required is not a list of names");
  }
  const names = new Set(given);
  if (names.size < given.length) reading.problems.add(place.pointer, "required names a member twice");
  const kept = [...names].filter((name) => !isOneWay(name, reading));
  return kept.length > 0 ? { required: kept } : {};
}

function isOneWay(name: string, { schema, around = {}, references }: KeywordReading): boolean {
  const beside = [schema, around].flatMap(({ allOf }) =>
    Array.isArray(allOf) ? allOf.slice(0, maxBeside) : [],
  );
  return [schema, around, ...beside].some((one) => {
    const { properties } = membersOf(valueOf(one, references));
    return (
      isObject(properties) &&
      Object.hasOwn(properties, name) &&
      isMarked(valueOf(properties[name], references))
    );
  });
}

/** As many schemas of an `allOf` are looked through for each name. */
const maxBeside = 20;

/** The schema, or the one that it refers to. */
function valueOf(schema: JsonValue | undefined, references: References): JsonValue | undefined {
  if (isMarked(schema)) return schema;
  try {
    return references.follow({ value: schema, pointer: "", shared: false }).value;
  } catch (error) {
    if (error instanceof BrokenReference) return undefined;
    throw error;
  }
}

function isMarked(schema: JsonValue | undefined): boolean {
  return isObject(schema) && (schema["readOnly"] === true || schema["writeOnly"] === true);
}

/** A list of them, as before 2020-12, says what the first items are. */
function items(place: Place, reading: KeywordReading): JsonObject {
  if (!Array.isArray(place.value)) return inner(false)(place, reading);
  const first = within(place).map((item) => reading.read(item, elsewhere(reading)));
  const { pointer, shared } = place;
  const rest = reading.schema["additionalItems"];
  const further = {
    value: rest,
    pointer: below(pointer.slice(0, pointer.lastIndexOf("/")), "additionalItems"),
    shared,
  };
  return {
    ...(first.length > 0 && { prefixItems: first }),
    ...(rest !== undefined && { items: reading.read(further, elsewhere(reading)) }),
  };
}

function list(isSameValue: boolean): Keyword {
  return (place, reading) => {
    if (!Array.isArray(place.value) || place.value.length === 0) {
      return wrong(place, reading, `${nameOf(place)} lists no schema`);
    }
    const how = inside(reading, isSameValue);
    const here = nameOf(place) === "allOf" ? { ...how, around: reading.schema } : how;
    return { [nameOf(place)]: within(place).map((item) => reading.read(item, here)) };
  };
}

/** With a discriminator, a member of the value says which one it is; several may match it. */
function oneOf(place: Place, reading: KeywordReading): JsonObject {
  const { oneOf: read, ...nothing } = list(true)(place, reading);
  if (read === undefined) return nothing;
  const isAny = isObject(reading.schema["discriminator"]) && reading.schema["anyOf"] === undefined;
  return isAny ? { anyOf: read } : { oneOf: read };
}

function inner(isSameValue: boolean): Keyword {
  return (place, reading) => ({ [nameOf(place)]: reading.read(place, inside(reading, isSameValue)) });
}

function named(isSameValue: boolean): Keyword {
  return (place, reading) => {
    if (!isObject(place.value)) return wrong(place, reading, `${nameOf(place)} is not an object`);
    const members = Object.keys(place.value).map((name): [string, Schema] => [
      name,
      reading.read(at(place, name), inside(reading, isSameValue)),
    ]);
    return { [nameOf(place)]: Object.fromEntries(members) };
  };
}

function patternProperties(place: Place, reading: KeywordReading): JsonObject {
  if (!isObject(place.value)) return wrong(place, reading, "patternProperties is not an object");
  const members = Object.keys(place.value).flatMap((source): [string, Schema][] => {
    const sound = soundPattern(source);
    if (sound !== undefined) return [[sound, reading.read(at(place, source), elsewhere(reading))]];
    wrong(at(place, source), reading, patternReason(source));
    return [];
  });
  return { patternProperties: Object.fromEntries(members) };
}

/** Where members by a pattern are left out, or all of them are, it would be held against those. */
function additionalProperties(place: Place, reading: KeywordReading): JsonObject {
  const { properties = {}, patternProperties: patterns = {} } = reading.schema;
  const isWhole =
    isObject(properties) &&
    isObject(patterns) &&
    Object.keys(patterns).every((source) => soundPattern(source) !== undefined);
  return isWhole
    ? inner(false)(place, reading)
    : wrong(place, reading, "says what the members are that are not described, and not all could be read");
}

function dependentRequired(place: Place, reading: KeywordReading): JsonObject {
  const lists = isObject(place.value) ? Object.values(place.value) : [undefined];
  if (!lists.every((names) => Array.isArray(names) && names.every(isText))) {
    return wrong(place, reading, "dependentRequired is not an object of lists of names");
  }
  const members = Object.entries(isObject(place.value) ? place.value : {});
  return { dependentRequired: Object.fromEntries(members.map(([name, names]) => [name, unique(names)])) };
}

function unique(names: JsonValue): JsonValue {
  return Array.isArray(names) ? [...new Set(names)] : names;
}

/** Only what is in an `allOf` has to be right with what is around it: that keyword says so itself. */
function inside(reading: KeywordReading, isSameValue: boolean): SchemaReading {
  return { ...reading, isSameValue: isSameValue && reading.isSameValue, around: undefined };
}

function elsewhere(reading: KeywordReading): SchemaReading {
  return inside(reading, false);
}

function shown(given: JsonValue | undefined): string {
  const text = JSON.stringify(given ?? null);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
