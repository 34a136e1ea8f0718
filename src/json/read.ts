import { type DescMessage, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { atOnce, inTurns, type LongWork } from "#src/platform/in-turns.ts";
import { withBytes } from "./base64.ts";
import { refuseImpossibleTimes } from "./calendar.ts";
import { parsing } from "./exact.ts";
import { explain, whatIsPublished, whatIsReadable } from "./explain.ts";
import { setTexts, withoutTexts } from "./kept-texts.ts";
import { longLength } from "./pieces.ts";
import { ValueCount } from "./value-count.ts";

/** How many objects and lists may lie inside each other. */
export const maxDepth = 100;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The message in this JSON. Unknown fields are refused: a misspelt one would be lost unseen. */
export function messageFromJson(message: DescMessage, json: JsonValue): Message {
  const read = messageIn(message, json);
  refuseImpossibleTimes(message, json);
  return read;
}

function messageIn(message: DescMessage, json: JsonValue): Message {
  try {
    const { rest, texts } = withoutTexts(message, json);
    const options = { ignoreUnknownFields: false, recursionLimit: 2 * maxDepth };
    return setTexts(fromJson(message, withBytes(message, rest), options), texts);
  } catch {
    const problem = explain(message, json, whatIsReadable);
    throw new InvalidRequest(problem ?? `the request does not fit ${message.name}`);
  }
}

/** The message that this JSON is, in the one form that the OpenAPI document publishes. */
export function messageFromPublishedJson(message: DescMessage, json: JsonValue): Message {
  const problem = explain(message, json, whatIsPublished);
  if (problem !== undefined) throw new InvalidRequest(problem);
  return messageFromJson(message, json);
}

/** The JSON of a request; long JSON is read in turns with the rest of the event loop. */
export function parseJson(bytes: Uint8Array, kept?: ReadonlySet<string>): Promise<JsonValue> {
  return inTurns(reading(bytes, kept));
}

/** The same where others cannot get a turn. */
export function parseJsonAtOnce(bytes: Uint8Array, kept?: ReadonlySet<string>): JsonValue {
  return atOnce(reading(bytes, kept));
}

function* reading(bytes: Uint8Array, kept: ReadonlySet<string> = new Set()): LongWork<JsonValue> {
  const text = textOf(bytes);
  const isLong = text.length > longLength;
  if (isLong) yield;
  const json = yield* parsing(text, { maxDepth, allowsNul: false }, { kept, count: new ValueCount() });
  // One text in it may be nearly all of it, and takes a while to be checked and decoded.
  if (isLong) yield;
  return json;
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new InvalidRequest("the body is not valid UTF-8");
  }
}
