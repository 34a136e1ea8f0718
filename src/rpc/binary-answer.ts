import { create, type DescField, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { textOfValue } from "#src/json/json-text.ts";
import { leadsToStruct, withStructsWritten } from "./binary-structs.ts";
import { longLength, piecesOfText } from "#src/json/pieces.ts";
import { valueBinary } from "#src/json/value-binary.ts";
import { lengthOf } from "#src/platform/bytes.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";

/**
 * The message in binary, as pieces that follow each other: at once, or, if one of its choices is long or JSON that is
 * not parsed, with turns of the event loop for others between. The message must not change meanwhile.
 */
export function binaryOf(desc: DescMessage, message: Message): Uint8Array[] | Promise<Uint8Array[]> {
  if (!leadsToStruct(desc)) return withLongChoice(desc, message);
  return inTurns(withStructsWritten(desc, message)).then((written) => withLongChoice(desc, written));
}

function withLongChoice(desc: DescMessage, message: Message): Uint8Array[] | Promise<Uint8Array[]> {
  const members: Readonly<Record<string, unknown>> = { ...message };
  for (const { fields, localName } of desc.oneofs) {
    const choice = members[localName] as { case?: string; value?: unknown };
    const field = fields.find((one) => one.localName === choice.case);
    const long = longOf(choice.value);
    if (field === undefined || long === undefined) continue;
    const others = Object.assign(create(desc), message, { [localName]: { case: undefined } });
    return inTurns(withField(toBinary(desc, others), field, long));
  }
  return [toBinary(desc, message)];
}

/** A value that would take long to write in one go: bytes, a text, or JSON that is not parsed. */
type Long = Uint8Array | string | { readonly json: string };

function longOf(value: unknown): Long | undefined {
  if (value instanceof Uint8Array || typeof value === "string") {
    return value.length > longLength ? value : undefined;
  }
  const json = typeof value === "object" && value !== null ? textOfValue(value) : undefined;
  return json === undefined ? undefined : { json: json.toString() };
}

/** Fields may follow each other in any order. */
function* withField(others: Uint8Array, { number }: DescField, long: Long): LongWork<Uint8Array[]> {
  const pieces = yield* written(long);
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(lengthOf(pieces));
  return [others, head.finish(), ...pieces];
}

function* written(long: Long): LongWork<Uint8Array[]> {
  if (long instanceof Uint8Array) return [long];
  if (typeof long !== "string") return [yield* valueBinary(long.json)];
  const pieces: Uint8Array[] = [];
  for (const piece of piecesOfText(long)) {
    pieces.push(piece);
    yield;
  }
  return pieces;
}
