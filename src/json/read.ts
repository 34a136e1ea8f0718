import { type DescMessage, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { withBytes } from "./base64.ts";
import { refuseImpossibleTimes } from "./calendar.ts";
import { parseExactly } from "./exact.ts";
import { explain, whatIsPublished, whatIsReadable } from "./explain.ts";
import { someText } from "./texts.ts";

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
    return fromJson(message, withBytes(message, json), {
      ignoreUnknownFields: false,
      recursionLimit: 2 * maxDepth,
    });
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

/** The JSON in these bytes. */
export function parseJson(bytes: Uint8Array): JsonValue {
  const text = textOf(bytes);
  const json = parseExactly(text, maxDepth);
  // Only an escape can hide what is unsafe: raw, it is invalid JSON or invalid UTF-8.
  if (text.includes("\\u") && /\\u(?:0000|d[89a-f])/i.test(text) && someText(json, isUnstorable)) {
    throw new InvalidRequest("the body contains NUL or half a surrogate pair, which text cannot hold");
  }
  return json;
}

function isUnstorable(text: string): boolean {
  return text.includes("\0") || !text.isWellFormed();
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new InvalidRequest("the body is not valid UTF-8");
  }
}
