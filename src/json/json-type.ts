import { type DescField, type JsonObject, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";

/** The JSON Schema of one value. */
type JsonType = JsonObject & {
  readonly type?: string;
  readonly format?: string;
  readonly contentEncoding?: string;
  readonly enum?: string[];
  readonly examples?: string[];
};

const double = { type: "number", format: "double" };
const int32 = { type: "integer", format: "int32" };
const uint32 = { type: "integer", format: "uint32", minimum: 0 };
// Written as a string, because a JSON number loses digits beyond 2^53. Read from either.
const int64 = { type: "string", format: "int64" };
const uint64 = { type: "string", format: "uint64" };

const scalars: Readonly<Record<ScalarType, JsonType>> = {
  [ScalarType.DOUBLE]: double,
  [ScalarType.FLOAT]: { type: "number", format: "float" },
  [ScalarType.INT64]: int64,
  [ScalarType.UINT64]: uint64,
  [ScalarType.INT32]: int32,
  [ScalarType.FIXED64]: uint64,
  [ScalarType.FIXED32]: uint32,
  [ScalarType.BOOL]: { type: "boolean" },
  [ScalarType.STRING]: { type: "string" },
  [ScalarType.BYTES]: { type: "string", contentEncoding: "base64" },
  [ScalarType.UINT32]: uint32,
  [ScalarType.SFIXED32]: int32,
  [ScalarType.SFIXED64]: int64,
  [ScalarType.SINT32]: int32,
  [ScalarType.SINT64]: int64,
};

/** Messages whose JSON is something else than an object of their fields. */
const wellKnown: Readonly<Record<string, JsonType>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time", examples: ["2026-01-31T08:00:00Z"] },
  "google.protobuf.Duration": {
    type: "string",
    pattern: String.raw`^-?\d+(\.\d{1,9})?s$`,
    examples: ["1.5s"],
  },
  "google.protobuf.FieldMask": { type: "string", examples: ["oneField,anotherField"] },
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.Value": {},
};

/** The JSON Schema of one value of a field: of the field itself, or of an item if it is a list or map. */
export function jsonType({ enum: enumeration, message, scalar }: DescField): JsonType {
  if (enumeration) return { type: "string", enum: enumeration.values.map((value) => value.name) };
  if (message && isWrapperDesc(message)) return scalars[message.fields[0].scalar];
  if (message) return wellKnown[message.typeName] ?? { type: "object" };
  return scalars[scalar];
}

/** What a field takes, in words. */
export function inWords(field: DescField): string {
  const { type = "value", format, contentEncoding = format, enum: values, examples } = jsonType(field);
  const noun = format?.includes("int") ? "an integer" : type === "object" ? "an object" : `a ${type}`;
  const kind = contentEncoding === undefined ? noun : `${noun} (${contentEncoding})`;
  const example = examples === undefined ? kind : `${kind} such as ${examples.join()}`;
  const one = values === undefined ? example : `one of ${values.join(", ")}`;
  if (field.fieldKind === "list") return `a list, each item ${one}`;
  return field.fieldKind === "map" ? `an object, each value ${one}` : one;
}
