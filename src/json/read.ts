import { type DescMessage, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { explain, whatIsPublished, whatIsReadable } from "./explain.ts";

/** How many objects and lists may lie inside each other. */
export const maxDepth = 100;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The message that this JSON is. Unknown fields are faults: a misspelt one would be lost unseen. */
export function messageFromJson(message: DescMessage, json: JsonValue): Message {
  try {
    return fromJson(message, json, { ignoreUnknownFields: false, recursionLimit: 2 * maxDepth });
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
  if (isTooDeep(bytes)) throw new InvalidRequest(`the body is nested more than ${maxDepth} levels deep`);
  const text = textOf(bytes);
  const json = jsonOf(text);
  // Only an escape can hide what is unsafe: raw, it is invalid JSON or invalid UTF-8.
  if (/\\u(?:0000|d[89a-f])/i.test(text)) refuseUnsafeText(json);
  return json;
}

/** Counted before parsing, which takes half a second for 4 MiB of brackets, and which recursion then relies on. */
function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let inText = false;
  for (let index = 0; index < bytes.length; index++) {
    const character = String.fromCharCode(bytes[index]!);
    if (character === '"') inText = !inText;
    else if (inText) index += character === "\\" ? 1 : 0;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > maxDepth) return true;
  }
  return false;
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new InvalidRequest("the body is not valid UTF-8");
  }
}

function jsonOf(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    // The message repeats a piece of the body, so only the position is passed on.
    const [place = ""] = / \(line \d+ column \d+\)$/.exec(String(error)) ?? [];
    throw new InvalidRequest(`the body is not valid JSON${place}`);
  }
}

/** Refuses NUL and halves of surrogate pairs: neither can be stored as text. */
function refuseUnsafeText(json: JsonValue): void {
  if (typeof json === "string" && (json.includes("\0") || !json.isWellFormed())) {
    throw new InvalidRequest("the body contains NUL or half a surrogate pair, which text cannot hold");
  }
  if (typeof json !== "object" || json === null) return;
  if (!Array.isArray(json)) Object.keys(json).forEach(refuseUnsafeText);
  Object.values(json).forEach(refuseUnsafeText);
}
