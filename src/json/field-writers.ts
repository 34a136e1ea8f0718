import {
  isMessage,
  ScalarType,
  toJson,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
} from "@bufbuild/protobuf";
import {
  FeatureSet_FieldPresence,
  hasCustomJsonRepresentation,
  isWrapperDesc,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import { textOfStruct, textOfValue } from "./json-text.ts";
import { longLength, piecesOfBytes, piecesOfString, piecesOfText } from "./pieces.ts";

/** Where JSON is written. */
export interface Sink {
  /** What was written since the last of the pieces. */
  text: string;
  /** What was written before, to be encoded piece by piece; empty while nothing was long. */
  readonly pieces: Iterable<Buffer>[];
}

/** A value as generated code holds it in memory; which type it has, its descriptor says. */
// oxlint-disable-next-line typescript/no-explicit-any -- as for the reflection of protobuf-es itself
type Local = any;
type Write = (sink: Sink, value: Local) => void;
type Members = Readonly<Record<string, unknown>>;

const writers = new WeakMap<DescMessage, Write>();

/** Writes messages of one type as `toJson` with `alwaysEmitImplicit` makes them, to the letter. */
export function messageWriter(desc: DescMessage): (sink: Sink, message: Message) => void {
  const known = writers.get(desc);
  if (known !== undefined) return known;
  const write = hasCustomJsonRepresentation(desc) ? wellKnownWriter(desc) : objectWriter(desc);
  writers.set(desc, write);
  return write;
}

/** Writes a field's value, which may be a list or map. */
export function fieldWriter(field: DescField): Write {
  const write = oneWriter(field);
  switch (field.fieldKind) {
    case "list":
      return (sink, items: readonly unknown[]) => {
        let before = "[";
        for (const item of items) {
          sink.text += before;
          write(sink, item);
          before = ",";
        }
        sink.text += before === "[" ? "[]" : "]";
      };
    case "map":
      return (sink, map: Members) => {
        let before = "{";
        for (const name of Object.keys(map)) {
          sink.text += before;
          writeString(sink, name);
          sink.text += ":";
          write(sink, map[name]);
          before = ",";
        }
        sink.text += before === "{" ? "{}" : "}";
      };
    default:
      return write;
  }
}

/** Reads a field of its message; undefined if it is not set. */
export function fieldReader({ oneof, localName, presence }: DescField): (message: Local) => unknown {
  if (oneof !== undefined) {
    return (message: Members) => {
      const choice = message[oneof.localName] as { case?: string; value?: unknown };
      return choice.case === localName ? choice.value : undefined;
    };
  }
  if (presence === FeatureSet_FieldPresence.IMPLICIT) return (message: Members) => message[localName];
  // What stands on the prototype is the default of a field that is not set.
  return (message: Members) => (Object.hasOwn(message, localName) ? message[localName] : undefined);
}

function wellKnownWriter(desc: DescMessage): Write {
  if (isWrapperDesc(desc)) {
    const write = scalarWriter(desc.fields[0].scalar);
    return (sink, message: Members) => write(sink, message.value);
  }
  return (sink, message: Message) => {
    const text = textOfValue(message);
    if (text !== undefined) writeText(sink, text);
    else if (isMessage(message, ValueSchema) && message.kind.case === "stringValue") {
      writeString(sink, message.kind.value);
    } else sink.text += JSON.stringify(toJson(desc, message));
  };
}

function objectWriter(desc: DescMessage): Write {
  type WriteMember = (sink: Sink, message: Message, before: string) => boolean;
  const writeMembers: WriteMember[] = [];
  const memberWriter = (field: DescField): WriteMember => {
    const key = `${JSON.stringify(field.jsonName)}:`;
    const write = fieldWriter(field);
    const read = fieldReader(field);
    return (sink, message, before) => {
      const value = read(message);
      if (value === undefined) return false;
      sink.text += before + key;
      write(sink, value);
      return true;
    };
  };
  const write: Write = (sink, message: Message) => {
    let before = "{";
    for (const writeMember of writeMembers) if (writeMember(sink, message, before)) before = ",";
    sink.text += before === "{" ? "{}" : "}";
  };
  // Known before its fields are looked at: a type may contain itself.
  writers.set(desc, write);
  writeMembers.push(...desc.fields.toSorted((a, b) => a.number - b.number).map(memberWriter));
  return write;
}

/** Writes one value of the field: the field itself, or an item if it is a list or map. */
function oneWriter(field: DescField): Write {
  const { message, scalar, enum: enumeration } = field;
  if (enumeration !== undefined) return enumWriter(enumeration);
  if (message === undefined) return scalarWriter(scalar);
  // What follows is how generated code holds these two: as plain JSON, and as the scalar itself.
  if (isPlainStruct(field)) {
    return (sink, json: object) => writeText(sink, textOfStruct(json) ?? JSON.stringify(json));
  }
  if (isWrapperDesc(message) && field.fieldKind === "message" && field.oneof === undefined) {
    return scalarWriter(message.fields[0].scalar);
  }
  return messageWriter(message);
}

/** Whether generated code holds the field's values as plain JSON. */
export function isPlainStruct({ message, parent }: DescField): boolean {
  return message?.typeName === "google.protobuf.Struct" && parent.typeName !== "google.protobuf.Value";
}

function enumWriter({ typeName, value: values }: DescEnum): Write {
  if (typeName === "google.protobuf.NullValue") return (sink) => void (sink.text += "null");
  return (sink, number: number) => {
    const name = values[number]?.jsonName;
    sink.text += name === undefined ? number : JSON.stringify(name);
  };
}

function scalarWriter(scalar: ScalarType): Write {
  switch (scalar) {
    case ScalarType.STRING:
      return writeString;
    case ScalarType.BYTES:
      return writeBytes;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return (sink, number: number) => void (sink.text += Number.isFinite(number) ? number : `"${number}"`);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return (sink, number: bigint | string) => void (sink.text += `"${number}"`);
    default:
      return (sink, value: number | boolean) => void (sink.text += value);
  }
}

/** Printable ASCII without what JSON escapes: most texts of ours, for which this is quicker. */
const isPlain = /^[ !#-[\]-~]*$/;

function writeString(sink: Sink, text: string): void {
  if (text.length > longLength) writePieces(sink, piecesOfString(text));
  else sink.text += text.length < 64 && isPlain.test(text) ? `"${text}"` : JSON.stringify(text);
}

function writeBytes(sink: Sink, bytes: Uint8Array): void {
  if (bytes.length > longLength) writePieces(sink, piecesOfBytes(bytes));
  else sink.text += `"${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64")}"`;
}

/** Longer UTF-8 is passed on as it is: to make text of it and encode that again takes twenty times as long. */
const longUtf8 = 16 * 1024;

function writeText(sink: Sink, text: string | Buffer): void {
  if (typeof text !== "string") {
    if (text.length > longUtf8) writePieces(sink, [text]);
    else sink.text += text.toString();
  } else if (text.length > longLength) writePieces(sink, piecesOfText(text));
  else sink.text += text;
}

function writePieces(sink: Sink, pieces: Iterable<Buffer>): void {
  sink.pieces.push(piecesOfText(sink.text), pieces);
  sink.text = "";
}
