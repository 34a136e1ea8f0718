import { type DescField, type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { setTexts } from "#src/json/kept-texts.ts";
import { valueText } from "#src/json/value-text.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import { lookThrough } from "./binary-look.ts";
import { undecodable } from "./framework-failure.ts";

/** So few bytes have no more values than are read: each takes two at least. */
const shortBytes = 20_000;

/**
 * The message that these bytes are. Long ones are read in turns with the rest of the event loop: any JSON in them is
 * kept as text, and of other values there may be only so many.
 */
export async function messageFromBinary(desc: DescMessage, bytes: Uint8Array): Promise<Message> {
  try {
    return bytes.length <= shortBytes ? fromBinary(desc, bytes) : await inTurns(reading(desc, bytes));
  } catch (error) {
    throw error instanceof InvalidRequest ? error : undecodable();
  }
}

function* reading(desc: DescMessage, bytes: Uint8Array): LongWork<Message> {
  const { json, others } = lookThrough(desc, bytes);
  yield;
  const message = fromBinary(desc, others.length === 1 ? others[0]! : Buffer.concat(others));
  const texts = new Map<DescField, Buffer>();
  for (const [field, value] of json) {
    yield;
    texts.set(field, yield* valueText(value, field.jsonName));
  }
  return setTexts(message, texts);
}
