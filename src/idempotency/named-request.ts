import { toJson, type DescMethod, type JsonValue, type Message } from "@bufbuild/protobuf";
import type { NamedRequest } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** Two headers arrive as one, with a space between. */
const idempotencyKey = /^[\x21-\x7e]{1,255}$/;

/** The request under the name that its `Idempotency-Key` header gives it. */
export function namedRequest(
  key: string,
  method: DescMethod,
  message: Message,
  repeated: string,
): NamedRequest {
  if (!idempotencyKey.test(key)) {
    throw new InvalidRequest("idempotency-key: give one header, of 1 to 255 visible ASCII characters");
  }
  return {
    key,
    text: textOf(method, message),
    repeated: repeated || "this request took effect before, on {id}; nothing is left to do",
  };
}

/** Method and request as text that is the same on every protocol. */
function textOf(method: DescMethod, message: Message): string {
  const json = JSON.stringify(toJson(method.input, message), (_name, value: JsonValue) => inOrder(value));
  return `${method.parent.typeName}/${method.name} ${json}`;
}

/** The order of a map's entries means nothing. */
function inOrder(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
