import {
  createRegistry,
  fromBinary,
  toBinary,
  toJson,
  type DescMessage,
  type DescMethod,
} from "@bufbuild/protobuf";
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import type { Http1Observation } from "./http1.ts";
import type { Http2Observation } from "./http2.ts";
import { withoutTolerated } from "./tolerated.ts";

const details = createRegistry(ErrorInfoSchema, BadRequestSchema, ViolationsSchema);

/** What was seen of one exchange, as lines and JSON that a difference can be read from. */
export type Readable = Readonly<Record<string, unknown>>;

export function readableHttp1({ answers, ending }: Http1Observation, method?: DescMethod): Readable {
  return {
    answers: answers.map(({ statusLine, headers, framing, body, trailers, whole }) => ({
      statusLine,
      headers: withoutTolerated([...headers, `framing: ${framing}`]).map(readableHeader),
      body: readableBody(headers, body, method),
      trailers: trailers.map(readableHeader),
      whole,
    })),
    ending,
  };
}

export function readableHttp2({ events, body, session }: Http2Observation, method?: DescMethod): Readable {
  const headers = events.find((event) => Array.isArray(event) && event[0] !== "informational") ?? [];
  return {
    events: events.map((event) =>
      typeof event === "string" ? event : withoutTolerated(event).map(readableHeader),
    ),
    body: readableBody(typeof headers === "string" ? [] : headers, body, method),
    session,
  };
}

function readableHeader(line: string): unknown {
  const [, value] = /^grpc-status-details-bin: (.*)$/.exec(line) ?? [];
  if (value === undefined) return line;
  const bytes = Buffer.from(value, "base64");
  const padded = value.endsWith("=") ? "padded" : "not padded";
  return ["grpc-status-details-bin", padded, messageIn(StatusSchema, bytes)];
}

function readableBody(headers: readonly string[], body: Buffer, method: DescMethod | undefined): unknown {
  const valueOf = (name: string) =>
    headers.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const type = valueOf("content-type") ?? "";
  if (body.length === 0) return "";
  if (type.startsWith("application/grpc")) return framesIn(body, valueOf("grpc-encoding"), type, method);
  const plain = inflated(body, valueOf("content-encoding"));
  if (type.startsWith("application/proto"))
    return method ? messageIn(method.output, plain) : plain.toString("hex");
  return withDetails(plain.toString());
}

function inflated(body: Buffer, encoding: string | undefined): Buffer {
  if (encoding === "gzip") return gunzipSync(body);
  return encoding === "br" ? brotliDecompressSync(body) : body;
}

function framesIn(
  body: Buffer,
  encoding: string | undefined,
  type: string,
  method: DescMethod | undefined,
): unknown[] {
  const frames: unknown[] = [];
  for (let at = 0; at < body.length;) {
    const flags = body.readUInt8(at);
    const length = body.length < at + 5 ? Infinity : body.readUInt32BE(at + 1);
    if (at + 5 + length > body.length) return [...frames, `cut: ${body.subarray(at).toString("hex")}`];
    const bytes = body.subarray(at + 5, at + 5 + length);
    const plain = flags & 1 ? inflated(bytes, encoding) : bytes;
    const isMessage = (flags & 0x80) === 0 && method !== undefined && !type.includes("json");
    frames.push({ flags, message: isMessage ? messageIn(method.output, plain) : plain.toString() });
    at += 5 + length;
  }
  return frames;
}

/** As JSON, since random ids and times have other bytes each time; with whether the bytes are the usual ones. */
function messageIn(schema: DescMessage, bytes: Uint8Array): unknown {
  try {
    const message = fromBinary(schema, bytes);
    const usual = Buffer.from(toBinary(schema, message)).equals(bytes)
      ? "as usual"
      : Buffer.from(bytes).toString("hex");
    return { json: toJson(schema, message, { alwaysEmitImplicit: true, registry: details }), bytes: usual };
  } catch {
    return Buffer.from(bytes).toString("hex");
  }
}

/** The text as it is, but for the details of a Connect error: they are binary inside. */
function withDetails(text: string): string {
  const detail = /"type":"([\w.]+)",("debug":.*?,)?"value":"([\w+/=]*)"/g;
  return text.replace(detail, (all, type: string, debug: string | undefined, value: string) => {
    const schema = details.getMessage(type);
    if (schema === undefined) return all;
    return JSON.stringify([type, debug ?? "no debug", messageIn(schema, Buffer.from(value, "base64"))]);
  });
}
