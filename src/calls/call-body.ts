import { isAscii, isUtf8 } from "node:buffer";
import { type JsonObject, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import type {
  CallServiceRequest,
  CallServiceResponseSchema,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { isExactJson } from "#src/json/exact-text.ts";
import { parseExactly } from "#src/json/exact.ts";
import { valueOfText } from "#src/json/json-text.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import { whole } from "#src/platform/bytes.ts";
import type { OutboundReply } from "#src/outbound/outbound.ts";
import { decodeText, readMediaType, xmlEncoding, type MediaType } from "./charset.ts";
import { InvalidCall } from "./errors.ts";

/** What is sent as a call's body, and the type it is sent as unless the caller names one. */
export interface RequestBody {
  readonly bytes: Buffer;
  readonly contentType: string;
}

/** The body that the request carries in one of three forms; undefined for none. */
export async function requestBody(body: CallServiceRequest["body"]): Promise<RequestBody | undefined> {
  switch (body.case) {
    case "json":
      return { bytes: whole(await jsonPiecesOf(ValueSchema, body.value)), contentType: "application/json" };
    case "text":
      return { bytes: Buffer.from(body.value), contentType: "text/plain; charset=utf-8" };
    case "raw":
      return { bytes: whole([body.value]), contentType: "application/octet-stream" };
    case undefined:
      return undefined;
  }
}

/** The query's parameters in the order given, a list as one parameter several times. */
export function queryPairs(query: JsonObject | undefined): [string, string][] {
  return Object.entries(query ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one): [string, string] => [name, queryText(name, one)]),
  );
}

function queryText(name: string, value: JsonValue): string {
  if (typeof value === "string") return value;
  const field = `query.${name.slice(0, 64)}`;
  // A client that made it a double may have lost digits, and a URL shows 1e21 where an integer is expected.
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new InvalidCall(`${field}: an integer beyond 2^53 does not fit a number; give it as a string`);
  }
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new InvalidCall(`${field}: give a string, a number, a boolean, or a list of them`);
}

type ReplyBody = NonNullable<MessageInitShape<typeof CallServiceResponseSchema>["body"]>;

/** Beyond this, turning JSON into a message and back would hold up other calls; it is answered as text. */
const maxInlineJsonBytes = 1024 * 1024;

/** Readers of protobuf stop at 100 nested messages, and an object in a `Value` is three of them. */
const maxInlineJsonDepth = 32;

/** The answer's body in the form that loses nothing and is easiest to read. */
export async function replyBody({
  headers,
  body,
}: Pick<OutboundReply, "headers" | "body">): Promise<ReplyBody> {
  if (body.length === 0) return { case: undefined };
  const type = readMediaType(headers["content-type"] ?? "");
  // A coding that is still named could not be decoded.
  const isPlain = headers["content-encoding"] === undefined;
  if (!isPlain || type === undefined || !isTextual(type.essence)) return { case: "raw", value: body };
  const json =
    isJson(type.essence) && body.length <= maxInlineJsonBytes ? await exactJson(body, type) : undefined;
  if (json !== undefined) return { case: "json", value: json };
  const text = await textOf(body, type);
  return text === undefined ? { case: "raw", value: body } : { case: "text", value: text };
}

/** The body's characters. One with NUL, where many programs take text to end, is not answered as text. */
async function textOf(body: Buffer, { essence, charset }: MediaType): Promise<string | undefined> {
  const declared = charset ?? (essence.endsWith("xml") ? xmlEncoding(body) : undefined);
  const text = await decodeText(body, declared ?? "utf-8");
  return text?.includes("\0") === true ? undefined : text;
}

function isTextual(kind: string): boolean {
  return (
    kind.startsWith("text/") ||
    isJson(kind) ||
    kind.endsWith("+xml") ||
    ["application/xml", "application/javascript", "application/x-ndjson"].includes(kind) ||
    kind === "application/x-www-form-urlencoded"
  );
}

/** Whether the media type is one of JSON. */
export function isJson(kind: string): boolean {
  return kind === "application/json" || kind.endsWith("+json");
}

/** The JSON as a message, unless that would change it. */
async function exactJson(body: Buffer, type: MediaType): Promise<Value | undefined> {
  const utf8 = /^utf-?8$/i.test(type.charset ?? "utf-8") ? withoutMark(body) : undefined;
  const byBytes = utf8 && textByBytes(utf8);
  if (utf8 !== undefined && byBytes !== undefined) {
    if (!(await isExactJson(byBytes, maxInlineJsonDepth))) return undefined;
    return valueOfText(utf8, (json) => parseExactly(json.toString(), maxInlineJsonDepth));
  }
  const text = (await textOf(body, type))?.replace(/^\ufeff/, "");
  if (text === undefined || !(await isExactJson(text, maxInlineJsonDepth))) return undefined;
  return valueOfText(text, (json) => parseExactly(json, maxInlineJsonDepth));
}

/**
 * The UTF-8 as a text with one character for each byte, which is made and read several times faster than the text that
 * it stands for. To a reader of JSON both are the same, unless an escape names a character beyond ASCII, which a name
 * may also hold as it is: undefined if that may be, or it is no UTF-8.
 */
function textByBytes(utf8: Buffer): string | undefined {
  const isSame = isAscii(utf8) || (isUtf8(utf8) && !utf8.includes("\\u"));
  return isSame ? utf8.toString("latin1") : undefined;
}

function withoutMark(utf8: Buffer): Buffer {
  return utf8.subarray(0, 3).equals(byteOrderMark) ? utf8.subarray(3) : utf8;
}

const byteOrderMark = Buffer.from("\ufeff");
