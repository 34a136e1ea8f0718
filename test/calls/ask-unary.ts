import { fromBinary, fromJson, toBinary, toJson, type JsonValue } from "@bufbuild/protobuf";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import http2 from "node:http2";
import { buffer } from "node:stream/consumers";
import { brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib";
import {
  CallServiceRequestSchema,
  CallServiceResponseSchema,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";

/** A CallService whose request and answer are JSON, whatever goes over the wire. */
export interface Asking {
  readonly url: string;
  readonly secret: string;
  readonly message: JsonValue;
  /** In what the answer is asked for. */
  readonly coding: "gzip" | "br" | undefined;
  /** In what the request comes. */
  readonly sentIn: "gzip" | undefined;
}

/** The status in terms of HTTP, and the answer; undefined if it is none of success. */
export interface Asked {
  readonly status: number;
  readonly answer: JsonValue | undefined;
}

const undone = { gzip: gunzipSync, br: brotliDecompressSync };

export async function askOverJson({ url, secret, message, coding, sentIn }: Asking): Promise<Asked> {
  const headers = {
    authorization: `Bearer ${secret}`,
    "content-type": "application/json",
    ...(coding && { "accept-encoding": coding }),
    ...(sentIn && { "content-encoding": sentIn }),
  };
  const plainMessage = JSON.stringify(message);
  const asking = request(url, { method: "POST", headers }).end(
    sentIn === undefined ? plainMessage : gzipSync(plainMessage),
  );
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  const answered = await buffer(response);
  const status = response.statusCode!;
  if (status !== 200 || response.headers["content-encoding"] !== coding) return { status, answer: undefined };
  const plain = coding === undefined ? answered : undone[coding](answered);
  const json = JSON.parse(plain.toString()) as { data?: JsonValue };
  return { status, answer: json.data ?? json };
}

const prefixBytes = 5;
const windowBytes = 16 * 1024 * 1024;
/** Encoded once: it takes seconds for a million values. */
const encoded = new WeakMap<object, Buffer>();

export async function askOverGrpc({ url, secret, message, coding, sentIn }: Asking): Promise<Asked> {
  const { origin, pathname } = new URL(url);
  const session = http2.connect(origin, { settings: { initialWindowSize: windowBytes } });
  await once(session, "connect");
  session.setLocalWindowSize(windowBytes);
  const stream = session.request({
    ":method": "POST",
    ":path": pathname,
    "content-type": "application/grpc",
    authorization: `Bearer ${secret}`,
    te: "trailers",
    ...(coding && { "grpc-accept-encoding": coding }),
    ...(sentIn && { "grpc-encoding": sentIn }),
  });
  let trailers: http2.IncomingHttpHeaders = {};
  const note = (some: http2.IncomingHttpHeaders) => (trailers = { ...trailers, ...some });
  stream
    .on("response", note)
    .on("trailers", note)
    .end(framed(encodedOf(message as object), sentIn));
  const body = await buffer(stream);
  session.close();
  if (trailers["grpc-status"] === "3") return { status: 400, answer: undefined };
  if (trailers["grpc-status"] !== "0") throw new Error(`gRPC answered ${String(trailers["grpc-status"])}`);
  const isCompressed = body[0] === 1;
  if (isCompressed !== (coding !== undefined)) return { status: 200, answer: undefined };
  const came = body.subarray(prefixBytes);
  const plain = coding === undefined ? came : undone[coding](came);
  const answered = fromBinary(CallServiceResponseSchema, plain);
  return { status: 200, answer: toJson(CallServiceResponseSchema, answered) };
}

/** Over HTTP/1.1, in what gRPC and gRPC-Web frame messages with. */
export function askInFrames(type: string): (asking: Asking) => Promise<Asked> {
  const isJson = type.endsWith("+json");
  return async ({ url, secret, message }) => {
    const headers = { authorization: `Bearer ${secret}`, "content-type": type, te: "trailers" };
    const bytes = isJson ? Buffer.from(JSON.stringify(message)) : encodedOf(message as object);
    const asking = request(url, { method: "POST", headers }).end(framed(bytes, undefined));
    const [response] = (await once(asking, "response")) as [IncomingMessage];
    const body = await buffer(response);
    const size = body[0] === 0 ? body.readUInt32BE(1) : 0;
    const answered = body.subarray(prefixBytes, prefixBytes + size);
    const inside = /grpc-status: (\d+)/.exec(body.subarray(size).toString())?.[1];
    const status = response.trailers["grpc-status"] ?? inside;
    if (status === "3") return { status: 400, answer: undefined };
    if (status !== "0") throw new Error(`gRPC answered ${String(status)}`);
    const answer = isJson
      ? (JSON.parse(answered.toString()) as JsonValue)
      : toJson(CallServiceResponseSchema, fromBinary(CallServiceResponseSchema, answered));
    return { status: 200, answer };
  };
}

function encodedOf(message: object): Buffer {
  const before = encoded.get(message);
  if (before !== undefined) return before;
  const options = { recursionLimit: Infinity };
  const bytes = Buffer.from(
    toBinary(CallServiceRequestSchema, fromJson(CallServiceRequestSchema, message as JsonValue, options)),
  );
  encoded.set(message, bytes);
  return bytes;
}

function framed(message: Buffer, sentIn: "gzip" | undefined): Buffer {
  const bytes = sentIn === undefined ? message : gzipSync(message);
  const prefix = Buffer.alloc(prefixBytes);
  prefix[0] = sentIn === undefined ? 0 : 1;
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}
