import type { Message } from "@bufbuild/protobuf";
import { compressed } from "#src/pipeline/compression.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { headerOf } from "#src/platform/http.ts";
import { messageCompressionFor } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { grpcErrorTrailers } from "./error-frames.ts";
import { compressedFlag, frame, prefixBytes } from "./frame.ts";
import { malformedRequest, messageTooLarge, undecodable, unsupportedRequest } from "./framework-failure.ts";
import type { LaneParts } from "./lane-codec.ts";
import type { MessageFormat } from "./message-format.ts";
import { inflated, readMessage } from "./unary-body.ts";

/** Unary calls of gRPC (gRPC's PROTOCOL-HTTP2.md); a frame with the last flag is no message, and ends a request. */
export function grpcCodec(parts: LaneParts, format: MessageFormat, lastFlag = 0): Codec {
  const { report } = parts;

  function headersOf(exchange: Exchange): Record<string, string> {
    // Named whether or not this message is long enough to be compressed.
    const compression = compressionOf(exchange.request.headers);
    return {
      ...exchange.answerHeaders(),
      "content-type": `application/grpc+${format.name}`,
      ...(compression !== undefined && { "grpc-encoding": compression.name }),
    };
  }

  return {
    protocolName: "grpc",
    deadline: (request, mostMs) => deadlineOf("grpc", headerOf(request, "grpc-timeout"), mostMs),
    async read(exchange) {
      // Room for the prefix of what may follow, so that it is told apart from a message that is too large.
      const maxBytes = format.limitOf(exchange.limits);
      const body = await readMessage(exchange, maxBytes, 2 * prefixBytes);
      return onlyMessage(body, maxBytes, lastFlag, async (payload) =>
        format.read(exchange.method.input, await plainOf(payload, exchange, maxBytes)),
      );
    },
    async answer(exchange, message) {
      const plain = await format.write(exchange.method.output, message);
      const compression = compressionOf(exchange.request.headers);
      const { body, coding } = await compressed(plain, compression, exchange);
      return {
        status: 200,
        headers: headersOf(exchange),
        body: frame(coding === undefined ? 0 : compressedFlag, body),
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

function compressionOf(headers: Exchange["request"]["headers"]) {
  return messageCompressionFor(headers["grpc-accept-encoding"], headers["grpc-encoding"]);
}

/** The one message in the body, which a frame with the last flag ends, if it has one. */
async function onlyMessage(
  body: Buffer,
  maxBytes: number,
  lastFlag: number,
  read: (payload: Payload) => Promise<Message>,
): Promise<Message> {
  let only: Message | undefined;
  for (let at = 0; at < body.length;) {
    const payload = payloadAt(body, at, maxBytes);
    at = payload.end;
    if ((payload.flags & lastFlag) !== 0) {
      // To skip it would be to go through as many frames as anybody cares to send.
      if (at < body.length) throw malformedRequest("protocol error: data behind the trailers");
      break;
    }
    // What follows a message may be none at all, which is the more telling fault.
    const message = await read(payload);
    if (only !== undefined)
      throw unsupportedRequest("protocol error: received extra input message for unary method");
    only = message;
  }
  if (only === undefined) throw unsupportedRequest("protocol error: missing input message for unary method");
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
  if (body.length < begin) throw malformedRequest("protocol error: incomplete envelope");
  const length = body.readUInt32BE(start + 1);
  if (length > maxBytes) throw messageTooLarge(maxBytes);
  const end = begin + length;
  if (body.length < end) throw malformedRequest("protocol error: incomplete envelope");
  return { bytes: body.subarray(begin, end), flags: body[start]!, end };
}

/** Its bytes, inflated if they are compressed. */
async function plainOf({ bytes, flags }: Payload, exchange: Exchange, maxBytes: number): Promise<Uint8Array> {
  if ((flags & compressedFlag) === 0) return bytes;
  const coding = headerOf(exchange.request, "grpc-encoding");
  // How it is compressed, no header says.
  if (coding === undefined || coding === "identity") throw undecodable();
  return inflated(bytes, coding, exchange, maxBytes);
}
