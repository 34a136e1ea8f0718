import { toJson, type DescMessage, type DescMethod, type JsonValue, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createHash } from "node:crypto";
import type { NamedRequest } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";

/** Two headers arrive as one, with a space between. */
const idempotencyKey = /^[\x21-\x7e]{1,255}$/;

/** The request under the name that its `Idempotency-Key` header gives it. */
export async function namedRequest(
  key: string,
  method: DescMethod,
  message: Message,
  repeated: string,
): Promise<NamedRequest> {
  if (!idempotencyKey.test(key)) {
    throw new InvalidRequest("idempotency-key: give one header, of 1 to 255 visible ASCII characters");
  }
  return {
    key,
    text: await textOf(method, message),
    repeated: repeated || "this request took effect before, on {id}; nothing is left to do",
  };
}

/** Method and request as text that is the same on every protocol. */
async function textOf(method: DescMethod, message: Message): Promise<string> {
  const short = await withDigests(method.input, message);
  const json = JSON.stringify(toJson(method.input, short), (_name, value: JsonValue) => inOrder(value));
  return `${method.parent.typeName}/${method.name} ${json}`;
}

/** A document of 16 MiB would be seconds on its way to base64, in which no other call is answered. */
const longBytes = 4096;

/** The message, with digests in place of long bytes. */
async function withDigests(desc: DescMessage, message: Message): Promise<Message> {
  const given = reflect(desc, message);
  const short = reflect(desc);
  for (const field of desc.fields.filter((one) => given.isSet(one))) {
    const value: unknown = given.get(field);
    const isLong = value instanceof Uint8Array && value.length > longBytes;
    short.set(field, isLong ? await inTurns(digesting(value)) : value);
  }
  return short.message;
}

const pieceBytes = 1024 * 1024;

function* digesting(bytes: Uint8Array): LongWork<Uint8Array> {
  const hash = createHash("sha256");
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    hash.update(bytes.subarray(at, at + pieceBytes));
    yield;
  }
  return new Uint8Array(hash.digest());
}

/** The order of a map's entries means nothing. */
function inOrder(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
