import type { Message } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { compressed } from "#src/pipeline/compression.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { binaryOf } from "./binary-answer.ts";
import { messageFromBinary } from "./binary-request.ts";
import { messageCompressionFor } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { grpcErrorTrailers } from "./error-frames.ts";
import { explainFramework } from "./framework-failure.ts";
import type { LaneParts } from "./lane-codec.ts";
import { inflated, messageTooLarge, readMessage } from "./unary-body.ts";

const prefixBytes = 5;
const compressedFlag = 1;

/** Unary calls of gRPC over HTTP/2 (gRPC's PROTOCOL-HTTP2.md). */
export function grpcCodec({ readMaxBytes, timeoutMs, report }: LaneParts): Codec {
  return {
    protocolName: "grpc",
    deadline: ({ headers }) => deadlineOf("grpc", headers["grpc-timeout"] as string | undefined, timeoutMs),
    async read(exchange) {
      // Room for the prefix of what may follow, so that it is told apart from a message that is too large.
      const bytes = await readMessage(exchange, readMaxBytes, 2 * prefixBytes);
      return onlyMessage(exchange, bytes, readMaxBytes);
    },
    async answer(exchange, message) {
      const plain = framed(0, await binaryOf(exchange.method.output, message));
      const { body, coding } = await compressed(
        plain.subarray(prefixBytes),
        compressionOf(exchange.request.headers),
        exchange,
      );
      return {
        status: 200,
        headers: headersOf(exchange),
        body: coding === undefined ? plain : framed(compressedFlag, [body]),
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

function framed(flags: number, message: readonly Uint8Array[]): Buffer {
  const prefix = Buffer.alloc(prefixBytes);
  const frame = Buffer.concat([prefix, ...message]);
  frame[0] = flags;
  frame.writeUInt32BE(frame.length - prefixBytes, 1);
  return frame;
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

/** The one message in the body. */
async function onlyMessage(exchange: Exchange, body: Buffer, maxBytes: number): Promise<Message> {
  if (body.length === 0) throw protocolError("missing input message for unary method");
  const first = payloadAt(body, 0, maxBytes);
  const message = await messageIn(first, exchange, maxBytes);
  if (first.end === body.length) return message;
  // What follows may be no message at all, which is the more telling fault.
  await messageIn(payloadAt(body, first.end, maxBytes), exchange, maxBytes);
  throw protocolError("received extra input message for unary method");
}

interface Payload {
  readonly bytes: Buffer;
  readonly isCompressed: boolean;
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
  return { bytes: body.subarray(begin, end), isCompressed: (body[start]! & compressedFlag) !== 0, end };
}

async function messageIn(
  { bytes, isCompressed }: Payload,
  exchange: Exchange,
  maxBytes: number,
): Promise<Message> {
  const { input } = exchange.method;
  if (!isCompressed) return messageFromBinary(input, bytes);
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
