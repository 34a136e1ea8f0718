import {
  create,
  fromJson,
  toJson,
  type JsonObject,
  type JsonValue,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type {
  CallServiceRequest,
  CallServiceResponseSchema,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { InvalidCall } from "./errors.ts";

/** What is sent as a call's body, and the type it is sent as unless the caller names one. */
export interface RequestBody {
  readonly bytes: Buffer;
  readonly contentType: string;
}

/** The body that the request carries in one of three forms; undefined for none. */
export function requestBody(body: CallServiceRequest["body"]): RequestBody | undefined {
  switch (body.case) {
    case "json":
      return {
        bytes: Buffer.from(JSON.stringify(toJson(ValueSchema, body.value))),
        contentType: "application/json",
      };
    case "text":
      return { bytes: Buffer.from(body.value), contentType: "text/plain; charset=utf-8" };
    case "raw":
      return { bytes: Buffer.from(body.value), contentType: "application/octet-stream" };
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
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new InvalidCall(`query.${name.slice(0, 64)}: give a string, a number, a boolean, or a list of them`);
}

type ReplyBody = NonNullable<MessageInitShape<typeof CallServiceResponseSchema>["body"]>;

/** Beyond this, turning JSON into a message and back would hold up other calls; it is answered as text. */
const maxInlineJsonBytes = 1024 * 1024;

/** The answer's body in the form that loses nothing and is easiest to read. */
export function replyBody(bytes: Buffer, contentType: string): ReplyBody {
  if (bytes.length === 0) return { case: undefined };
  const kind = contentType.split(";", 1)[0]!.trim().toLowerCase();
  const text = isTextual(kind) ? utf8(bytes) : undefined;
  if (text === undefined) return { case: "raw", value: bytes };
  const json = isJson(kind) && bytes.length <= maxInlineJsonBytes ? exactJson(text) : undefined;
  if (json === undefined) return { case: "text", value: text };
  return { case: "json", value: json };
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

function isJson(kind: string): boolean {
  return kind === "application/json" || kind.endsWith("+json");
}

function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The JSON as a message, unless that would change it: numbers are doubles there, and nesting has an end. */
function exactJson(text: string) {
  try {
    const value = JSON.parse(text, keepExact) as JsonValue;
    return create(ValueSchema, fromJson(ValueSchema, value));
  } catch {
    return undefined;
  }
}

function keepExact(this: unknown, key: string, value: unknown, source?: { source?: string }): unknown {
  // As a member of a plain object it would set the prototype instead of being kept.
  if (key === "__proto__" || !key.isWellFormed()) throw new RangeError("not a plain member");
  if (typeof value === "string" && !value.isWellFormed()) throw new RangeError("not UTF-8");
  if (typeof value === "number" && !isExact(value, source?.source ?? ""))
    throw new RangeError("not a double");
  return value;
}

function isExact(value: number, source: string): boolean {
  if (!Number.isFinite(value) || Object.is(value, -0)) return false;
  return Number.isInteger(value) ? Number.isSafeInteger(value) : source.length <= 17;
}
