import { create, type DescField, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { textOfValue } from "#src/json/json-text.ts";
import { longLength, piecesOfText } from "#src/json/pieces.ts";
import { valueBinary } from "#src/json/value-binary.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";

/**
 * The message in binary, as pieces that follow each other: at once, or, if one of its choices is long or JSON that is
 * not parsed, with turns of the event loop for others between. The message must not change meanwhile.
 */
export function binaryOf(desc: DescMessage, message: Message): Uint8Array[] | Promise<Uint8Array[]> {
  const members: Readonly<Record<string, unknown>> = { ...message };
  for (const { fields, localName } of desc.oneofs) {
    const choice = members[localName] as { case?: string; value?: unknown };
    const field = fields.find((one) => one.localName === choice.case);
    const work = workOf(choice.value);
    if (field === undefined || work === undefined) continue;
    const others = Object.assign(create(desc), message, { [localName]: { case: undefined } });
    return inTurns(withField(toBinary(desc, others), field, work));
  }
  return [toBinary(desc, message)];
}

/** Fields may follow each other in any order. */
function* withField(
  others: Uint8Array,
  { number }: DescField,
  work: LongWork<Uint8Array[]>,
): LongWork<Uint8Array[]> {
  const pieces = yield* work;
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(size);
  return [others, head.finish(), ...pieces];
}

/** How to write a value that would take long in one go; undefined for others. */
function workOf(value: unknown): LongWork<Uint8Array[]> | undefined {
  if (value instanceof Uint8Array) return value.length > longLength ? done([value]) : undefined;
  if (typeof value === "string") return value.length > longLength ? encoding(value) : undefined;
  const json = typeof value === "object" && value !== null ? textOfValue(value) : undefined;
  return json === undefined ? undefined : converting(json);
}

// oxlint-disable-next-line require-yield -- there is nothing to do
function* done(pieces: Uint8Array[]): LongWork<Uint8Array[]> {
  return pieces;
}

function* encoding(text: string): LongWork<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for (const piece of piecesOfText(text)) {
    pieces.push(piece);
    yield;
  }
  return pieces;
}

function* converting(json: string | Buffer): LongWork<Uint8Array[]> {
  return [yield* valueBinary(json.toString())];
}
