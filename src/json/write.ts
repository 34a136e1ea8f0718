import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { inTurns } from "#src/platform/in-turns.ts";
import { fieldReader, fieldWriter, messageWriter, type Sink } from "./field-writers.ts";
import { longLength, piecesOfText } from "./pieces.ts";

/** What is written of a message, and in what. */
export interface JsonShape {
  /** The one field that is written, null if it is not set; the whole message if undefined. */
  readonly only?: DescField | undefined;
  /** The name of the only member of an object that it is written in; in none if undefined. */
  readonly wrapIn?: string | undefined;
}

/**
 * The message as JSON with all fields that have no presence: its text at once, or, if something in it is long, its
 * bytes piece by piece, with turns of the event loop for others between. The message must not change meanwhile.
 */
export function jsonOf(
  desc: DescMessage,
  message: Message,
  { only, wrapIn }: JsonShape = {},
): string | Promise<Buffer[]> {
  const sink: Sink = { text: wrapIn === undefined ? "" : `{${JSON.stringify(wrapIn)}:`, pieces: [] };
  if (only === undefined) messageWriter(desc)(sink, message);
  else writeField(sink, message, only);
  if (wrapIn !== undefined) sink.text += "}";
  if (sink.pieces.length === 0 && sink.text.length <= longLength) return sink.text;
  return inTurns(encoded([...sink.pieces, piecesOfText(sink.text)]));
}

/** The same, its bytes in any case: pieces that follow each other. */
export async function jsonPiecesOf(
  desc: DescMessage,
  message: Message,
  shape?: JsonShape,
): Promise<readonly Buffer[]> {
  const json = jsonOf(desc, message, shape);
  return typeof json === "string" ? [Buffer.from(json)] : json;
}

function writeField(sink: Sink, message: Message, field: DescField): void {
  const value: unknown = fieldReader(field)(message);
  if (value === undefined) sink.text += "null";
  else fieldWriter(field)(sink, value);
}

function* encoded(parts: readonly Iterable<Buffer>[]): Generator<undefined, Buffer[]> {
  const buffers: Buffer[] = [];
  for (const part of parts) {
    for (const buffer of part) {
      buffers.push(buffer);
      yield;
    }
  }
  return buffers;
}
