import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { anyJsonIn } from "#src/json/kept-texts.ts";
import { ValueCount } from "#src/json/value-count.ts";

/** A message that is not read yet. */
interface Looked {
  /** Its fields that hold any JSON, and the bytes of each. */
  readonly json: ReadonlyMap<DescField, Uint8Array>;
  /** The bytes around those. */
  readonly others: readonly Uint8Array[];
}

/** A message around the present place, or an entry of a map. */
interface Level {
  readonly end: number;
  readonly fieldOf: (number: number) => DescField | undefined;
  /** Of an entry whose value is a message. */
  readonly entryValue?: DescMessage | undefined;
}

/**
 * Finds any JSON in a message, and counts all other values. Throws if there are too many, or if the bytes are no
 * message, as encoders of proto3 write it: without groups, and with any JSON once.
 */
export function lookThrough(desc: DescMessage, bytes: Uint8Array): Looked {
  const anyJson = anyJsonIn(desc).fields;
  const json = new Map<DescField, Uint8Array>();
  const others: Uint8Array[] = [];
  let othersStart = 0;
  const count = new ValueCount();
  const reader = new BinaryReader(bytes);
  const around: Level[] = [{ end: bytes.length, fieldOf: fieldsOf(desc) }];
  for (let level = around.at(-1); level !== undefined; level = around.at(-1)) {
    if (reader.pos >= level.end) {
      around.pop();
      continue;
    }
    const start = reader.pos;
    const [number, type] = reader.tag();
    count.addValues(1);
    const field = level.fieldOf(number);
    // Of several choices, the last one counts.
    if (around.length === 1 && field?.oneof !== undefined) {
      for (const other of field.oneof.fields) if (other !== field) json.delete(other);
    }
    const isJson = around.length === 1 && field !== undefined && anyJson.includes(field);
    // Protobuf would merge the two.
    const isOdd = isJson && (type !== WireType.LengthDelimited || json.has(field));
    if (type === WireType.StartGroup || isOdd) {
      throw new Error("a field is not as encoders write it");
    }
    if (type !== WireType.LengthDelimited) {
      reader.skip(type, number);
      continue;
    }
    const end = endOfNext(reader, level.end);
    if (isJson) {
      json.set(field, bytes.subarray(reader.pos, end));
      others.push(bytes.subarray(othersStart, start));
      othersStart = reader.pos = end;
      continue;
    }
    const inner = number === 2 && level.entryValue !== undefined ? level.entryValue : field?.message;
    if (field?.fieldKind === "map") {
      count.addMember();
      around.push({ end, fieldOf: () => undefined, entryValue: field.message });
    } else if (inner !== undefined) around.push({ end, fieldOf: fieldsOf(inner) });
    else {
      if (isPacked(field)) count.addValues(end - reader.pos);
      reader.pos = end;
    }
  }
  return { json, others: [...others, bytes.subarray(othersStart)] };
}

function endOfNext(reader: BinaryReader, outerEnd: number): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > outerEnd) throw new Error("premature end");
  return end;
}

/** Whether each byte of the field may be a value of its own. */
function isPacked(field: DescField | undefined): boolean {
  if (field?.fieldKind !== "list") return false;
  return (
    field.listKind === "enum" ||
    (field.listKind === "scalar" && field.scalar !== ScalarType.STRING && field.scalar !== ScalarType.BYTES)
  );
}

const known = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

function fieldsOf(desc: DescMessage): (number: number) => DescField | undefined {
  const fields = known.get(desc) ?? new Map(desc.fields.map((field) => [field.number, field]));
  known.set(desc, fields);
  return (number) => fields.get(number);
}
