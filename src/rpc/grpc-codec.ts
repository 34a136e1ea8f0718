import type { Message } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { compressed } from "#src/pipeline/compression.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { lengthOf, type Pieced, whole } from "#src/platform/bytes.ts";
import { binaryOf } from "./binary-answer.ts";
import { messageFromBinary } from "./binary-request.ts";
import { messageCompressionFor } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { messageTooLarge } from "./decompress.ts";
import { grpcErrorTrailers } from "./error-frames.ts";
import { explainFramework } from "./framework-failure.ts";
import type { LaneParts } from "./lane-codec.ts";
import { inflated, readMessage } from "./unary-body.ts";

const prefixBytes = 5;
const compressedFlag = 1;

/** Unary calls of gRPC over HTTP/2 (gRPC's PROTOCOL-HTTP2.md); frames of requests with the flag to skip do not count. */
export function grpcCodec({ readMaxBytes, timeoutMs, report }: LaneParts, skippedFlag = 0): Codec {
  return {
    protocolName: "grpc",
    deadline: ({ headers }) => deadlineOf("grpc", headers["grpc-timeout"] as string | undefined, timeoutMs),
    async read(exchange) {
      // Room for the prefix of what may follow, so that it is told apart from a message that is too large.
      const bytes = await readMessage(exchange, readMaxBytes, 2 * prefixBytes);
      return onlyMessage(exchange, bytes, readMaxBytes, skippedFlag);
    },
    async answer(exchange, message) {
      const plain = await binaryOf(exchange.method.output, message);
      const compression = compressionOf(exchange.request.headers);
      const { body, coding } = await compressed(plain, compression, exchange);
      return {
        status: 200,
        headers: headersOf(exchange),
        body: framed(coding === undefined ? 0 : compressedFlag, body),
        trailers: { ...exchange.answerTrailers(), "grpc-status": "0" },
      };
    },
    refuse(exchange, thrown) {
      const error = report(thrown, exchange);
      const trailers = {
        ...exchange.answerTrailers(),
        ...Object.fromEntries(error.metadata),
        ...grpcErrorTrailers(error),
      };
      return { status: 200, headers: headersOf(exchange), trailers };
    },
  };
}

/** Most messages are short, and leave in one piece with what they are framed with. */
const shortBytes = 16 * 1024;

function framed(flags: number, message: Pieced): Pieced {
  const prefix = Buffer.alloc(prefixBytes);
  const length = lengthOf(message);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  const frame = [prefix, ...message];
  return length > shortBytes ? frame : [whole(frame)];
}

type Exchange = Parameters<Codec["read"]>[0];

function headersOf(exchange: Exchange): Record<string, string> {
  // Named whether or not this message is long enough to be compressed.
  const compression = compressionOf(exchange.request.headers);
  return {
    ...exchange.answerHeaders(),
    "content-type": "application/grpc+proto",
    ...(compression !== undefined && { "grpc-encoding": compression.name }),
  };
}

function compressionOf(headers: Exchange["request"]["headers"]) {
  return messageCompressionFor(headers["grpc-accept-encoding"], headers["grpc-encoding"]);
}

/** The one message in the body, in which frames with the flag to skip do not count. */
async function onlyMessage(
  exchange: Exchange,
  body: Buffer,
  maxBytes: number,
  skippedFlag: number,
): Promise<Message> {
  let only: Message | undefined;
  for (let at = 0; at < body.length;) {
    const payload = payloadAt(body, at, maxBytes);
    at = payload.end;
    if ((payload.flags & skippedFlag) !== 0) continue;
    // What follows a message may be none at all, which is the more telling fault.
    const message = await messageIn(payload, exchange, maxBytes);
    if (only !== undefined) throw protocolError("received extra input message for unary method");
    only = message;
  }
  if (only === undefined) throw protocolError("missing input message for unary method");
  return only;
}

interface Payload {
  readonly bytes: Buffer;
  readonly flags: number;
  /** Where it ends in the body. */
  readonly end: number;
}

/** What follows the prefix that begins there. */
function payloadAt(body: Buffer, start: number, maxBytes: number): Payload {
  const begin = start + prefixBytes;
  if (body.length < begin) throw incomplete();
  const length = body.readUInt32BE(start + 1);
  if (length > maxBytes) throw messageTooLarge(maxBytes);
  const end = begin + length;
  if (body.length < end) throw incomplete();
  return { bytes: body.subarray(begin, end), flags: body[start]!, end };
}

async function messageIn({ bytes, flags }: Payload, exchange: Exchange, maxBytes: number): Promise<Message> {
  const { input } = exchange.method;
  if ((flags & compressedFlag) === 0) return messageFromBinary(input, bytes);
  const coding = exchange.request.headers["grpc-encoding"] as string | undefined;
  // How it is compressed, no header says.
  if (coding === undefined || coding === "identity") throw explainFramework(Code.Internal, "");
  return messageFromBinary(input, await inflated(bytes, coding, exchange, maxBytes));
}

function incomplete() {
  return explainFramework(Code.InvalidArgument, "protocol error: incomplete envelope");
}

function protocolError(what: string) {
  return explainFramework(Code.Unimplemented, `protocol error: ${what}`);
}
