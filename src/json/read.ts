import { type DescMessage, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { InvalidRequest } from "#src/platform/errors.ts";
import { parseExactly } from "./exact.ts";
import { explain } from "./explain.ts";

/** How many objects and lists may lie inside each other. */
export const maxDepth = 100;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The message that this JSON is. Unknown fields are faults: a misspelt one would be lost unseen. */
export function messageFromJson(message: DescMessage, json: JsonValue): Message {
  try {
    return fromJson(message, json, { ignoreUnknownFields: false, recursionLimit: 2 * maxDepth });
  } catch {
    throw new InvalidRequest(explain(message, json) ?? `the request does not fit ${message.name}`);
  }
}

/** The JSON in these bytes. */
export function parseJson(bytes: Uint8Array): JsonValue {
  const text = textOf(bytes);
  const json = parseExactly(text, maxDepth);
  // Only an escape can hide what is unsafe: raw, it is invalid JSON or invalid UTF-8.
  if (/\\u(?:0000|d[89a-f])/i.test(text)) refuseUnsafeText(json);
  return json;
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new InvalidRequest("the body is not valid UTF-8");
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
