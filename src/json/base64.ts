import { ScalarType, type DescField, type DescMessage, type JsonValue } from "@bufbuild/protobuf";
import { hasCustomJsonRepresentation, isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { isObject } from "./object.ts";

/** Whether the text is base64 in either alphabet, with or without padding, and nothing else. */
export function isBase64(text: string): boolean {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const digits = text.length - padding;
  const fits = padding === 0 ? digits % 4 !== 1 : text.length % 4 === 0;
  return fits && !/[^A-Za-z0-9+/_-]/.test(text.slice(0, digits));
}

/**
 * The JSON for `fromJson`, with bytes where base64 was: it takes bytes as they are, but decodes base64 in JavaScript,
 * which takes many times as long. What is not plain base64 is left to it, to be read (it knows more forms) or refused.
 */
export function withBytes(message: DescMessage, json: JsonValue): JsonValue {
  if (!mayHoldBytes(message)) return json;
  // The JSON of a wrapper is that of its value.
  if (isWrapperDesc(message)) return bytesOf(json);
  if (!isObject(json)) return json;
  // By the fields and not by the names in the JSON, of which a caller may send hundreds of thousands.
  const read = message.fields
    .filter(fieldMayHoldBytes)
    .flatMap((field) =>
      [...new Set([field.jsonName, field.name])]
        .filter((name) => Object.hasOwn(json, name))
        .map((name): [string, JsonValue] => [name, fieldWithBytes(field, json[name]!)]),
    );
  return read.length === 0 ? json : { ...json, ...Object.fromEntries(read) };
}

function fieldWithBytes(field: DescField, json: JsonValue): JsonValue {
  const one = (value: JsonValue) =>
    field.message === undefined ? bytesOf(value) : withBytes(field.message, value);
  if (field.fieldKind === "list") return Array.isArray(json) ? json.map(one) : json;
  if (field.fieldKind !== "map") return one(json);
  if (!isObject(json)) return json;
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, one(value)]));
}

/** The bytes that the text is base64 of, in either alphabet, in lines or not; undefined if it is none. */
export function fromBase64(text: string): Buffer | undefined {
  if (isBase64(text)) return Buffer.from(text, "base64");
  const inOneLine = text.replace(/[ \t\r\n]+/g, "");
  return inOneLine !== text && isBase64(inOneLine) ? Buffer.from(inOneLine, "base64") : undefined;
}

function bytesOf(json: JsonValue): JsonValue {
  const decoded = typeof json === "string" ? fromBase64(json) : undefined;
  if (decoded === undefined) return json;
  const { buffer, byteOffset, length } = decoded;
  // Bytes are no JSON, except to `fromJson`. No Buffer: its `slice` is not that of the arrays that messages hold.
  const bytes: unknown = new Uint8Array(buffer, byteOffset, length);
  return bytes as JsonValue;
}

const known = new WeakMap<DescMessage, boolean>();

/** Whether a field of the message, or of one inside it, holds bytes. */
function mayHoldBytes(message: DescMessage): boolean {
  const holds = known.get(message) ?? findsBytes(message, new Set());
  known.set(message, holds);
  return holds;
}

function findsBytes(message: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(message)) return false;
  seen.add(message);
  if (hasCustomJsonRepresentation(message) && !isWrapperDesc(message)) return false;
  return message.fields.some((field) =>
    field.message === undefined ? field.scalar === ScalarType.BYTES : findsBytes(field.message, seen),
  );
}

function fieldMayHoldBytes({ message, scalar }: DescField): boolean {
  return message === undefined ? scalar === ScalarType.BYTES : mayHoldBytes(message);
}
