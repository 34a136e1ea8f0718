import { type DescField, type JsonObject, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { isBase64 } from "./base64.ts";

/** The JSON Schema of one value. */
export type JsonType = JsonObject & {
  readonly type?: string | string[];
  readonly format?: string;
  readonly contentEncoding?: string;
  readonly enum?: string[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly examples?: string[];
};

const int32 = { type: "integer", format: "int32", minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };
const uint32 = { type: "integer", format: "uint32", minimum: 0, maximum: 2 ** 32 - 1 };
// Written as a string, because a JSON number loses digits beyond 2^53. Read from either.
const int64 = {
  type: ["string", "integer"],
  format: "int64",
  pattern: String.raw`^-?\d{1,19}$`,
  minimum: Number.MIN_SAFE_INTEGER,
  maximum: Number.MAX_SAFE_INTEGER,
};
/** A 64-bit number that is not negative. */
export const uint64 = { ...int64, format: "uint64", pattern: String.raw`^\d{1,20}$`, minimum: 0 };

const scalars: Readonly<Record<ScalarType, JsonType>> = {
  [ScalarType.DOUBLE]: { type: "number", format: "double" },
  [ScalarType.FLOAT]: { type: "number", format: "float" },
  [ScalarType.INT64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.INT32]: int32,
  [ScalarType.FIXED64]: uint64,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.BOOL]: { type: "boolean" },
  [ScalarType.STRING]: { type: "string" },
  [ScalarType.BYTES]: {
    type: "string",
    contentEncoding: "base64",
    // Either alphabet, with or without padding.
    pattern: "^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$",
  },
  [ScalarType.UINT32]: uint32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.SINT32]: int32,
  [ScalarType.SINT64]: int64,
};

const date = String.raw`\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])`;
const time = String.raw`(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)`;
const path = String.raw`[a-z][A-Za-z0-9]*(?:\.[a-z][A-Za-z0-9]*)*`;

/** Messages whose JSON is something else than an object of their fields. */
const wellKnown: Readonly<Record<string, JsonType>> = {
  "google.protobuf.Timestamp": {
    type: "string",
    format: "date-time",
    pattern: `^${date}T${time}$`,
    examples: ["2026-01-31T08:00:00Z"],
  },
  "google.protobuf.Duration": {
    type: "string",
    pattern: String.raw`^-?\d{1,12}(?:\.\d{1,9})?s$`,
    examples: ["1.5s"],
  },
  "google.protobuf.FieldMask": {
    type: "string",
    pattern: `^${path}(?:,${path})*$`,
    examples: ["oneField,anotherField"],
  },
  "google.protobuf.ListValue": { type: "array" },
  "google.protobuf.Value": {},
};

/** The JSON Schema of one value of a field: of the field itself, or of an item if it is a list or map. */
export function jsonType({
  enum: enumeration,
  message,
  scalar,
}: Partial<Pick<DescField, "enum" | "message" | "scalar">>): JsonType {
  if (enumeration) return { type: "string", enum: enumeration.values.map((value) => value.name) };
  if (message && isWrapperDesc(message)) return scalars[message.fields[0].scalar];
  if (message) return wellKnown[message.typeName] ?? { type: "object" };
  return scalar === undefined ? {} : scalars[scalar];
}

/** The JSON Schema of the names in a map's object. */
export function nameType({ mapKey }: DescField & { fieldKind: "map" }): JsonType {
  if (mapKey === ScalarType.STRING) return { type: "string" };
  if (mapKey === ScalarType.BOOL) return { enum: ["true", "false"] };
  return { pattern: "^(?:0|-?[1-9][0-9]{0,19})$" };
}

/** Whether the value is of the type. `fromJson` takes more: numbers in texts, and enum values by number. */
export function isOfType(value: JsonValue, { type, minimum, maximum, ...words }: JsonType): boolean {
  if (type !== undefined && ![type].flat().some((name) => isOf(name, value))) return false;
  if (typeof value === "number") return value >= (minimum ?? value) && value <= (maximum ?? value);
  return typeof value !== "string" || isTextOf(value, words);
}

function isTextOf(text: string, { enum: values, pattern, contentEncoding }: JsonType): boolean {
  // Says what the pattern says; that one takes too long for megabytes.
  if (contentEncoding === "base64") return isBase64(text);
  if (values?.includes(text) === false) return false;
  return pattern === undefined || new RegExp(pattern, "u").test(text);
}

function isOf(type: string, value: JsonValue): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

/** What a field takes, in words. */
export function inWords(field: DescField): string {
  const { type, format, contentEncoding = format, enum: values, examples } = jsonType(field);
  // 64-bit integers may be texts, which need not be said.
  const name = [type ?? "value"].flat().at(-1)!;
  const noun = `${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`;
  const kind = contentEncoding === undefined ? noun : `${noun} (${contentEncoding})`;
  const example = examples === undefined ? kind : `${kind} such as ${examples.join()}`;
  const one = values === undefined ? example : `one of ${values.join(", ")}`;
  if (field.fieldKind === "list") return `a list, each item ${one}`;
  return field.fieldKind === "map" ? `an object, each value ${one}` : one;
}
