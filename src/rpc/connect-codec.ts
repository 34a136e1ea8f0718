import type { Message } from "@bufbuild/protobuf";
import { anyJsonIn } from "#src/json/kept-texts.ts";
import { messageFromJson, parseJson } from "#src/json/read.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import { compressed } from "#src/pipeline/compression.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { lengthOf, type Pieced } from "#src/platform/bytes.ts";
import { binaryOf } from "./binary-answer.ts";
import { messageFromBinary } from "./binary-request.ts";
import { messageCompressionFor } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { connectErrorBytes, httpStatusOf } from "./error-frames.ts";
import type { LaneParts } from "./lane-codec.ts";
import { inflated, readMessage } from "./unary-body.ts";

interface Framing {
  readonly contentType: string;
  readonly read: (exchange: Exchange) => Promise<Message>;
  readonly encode: (exchange: Exchange, message: Message) => Promise<Pieced>;
}

/** Unary calls of the Connect protocol (https://connectrpc.com/docs/protocol). */
export function connectCodecs(parts: LaneParts): { json: Codec; proto: Codec } {
  const { readMaxBytes, timeoutMs, report } = parts;

  function codec({ contentType, encode, read }: Framing): Codec {
    return {
      protocolName: "connect",
      deadline: ({ headers }) =>
        deadlineOf("connect", headers["connect-timeout-ms"] as string | undefined, timeoutMs),
      read,
      async answer(exchange, message) {
        const headers = { ...ownHeaders(exchange), "content-type": contentType };
        return framed(200, headers, await encode(exchange, message), exchange);
      },
      refuse(exchange, thrown) {
        const error = report(thrown, exchange);
        const headers = {
          ...ownHeaders(exchange),
          ...Object.fromEntries(error.metadata),
          "content-type": "application/json",
        };
        const status = httpStatusOf[error.code];
        return framed(status, headers, [connectErrorBytes(error)], exchange);
      },
    };
  }

  async function readInflated(exchange: Exchange): Promise<Uint8Array> {
    const bytes = await readMessage(exchange, readMaxBytes);
    return inflated(bytes, exchange.request.headers["content-encoding"], exchange, readMaxBytes);
  }

  return {
    json: codec({
      contentType: "application/json",
      async read(exchange) {
        const { input } = exchange.method;
        const bytes = await readInflated(exchange);
        return messageFromJson(input, await parseJson(bytes, anyJsonIn(input).names));
      },
      encode: ({ method }, message) => jsonPiecesOf(method.output, message),
    }),
    proto: codec({
      contentType: "application/proto",
      read: async (exchange) => messageFromBinary(exchange.method.input, await readInflated(exchange)),
      encode: async ({ method }, message) => binaryOf(method.output, message),
    }),
  };
}

/** What gate and handler gave to the answer; trailers are headers of a unary answer, also of a failed one. */
function ownHeaders(exchange: Exchange): Record<string, string> {
  const trailers = Object.entries(exchange.answerTrailers());
  return {
    ...exchange.answerHeaders(),
    ...Object.fromEntries(trailers.map(([name, value]) => [`trailer-${name}`, value])),
  };
}

/** The answer, compressed if its caller takes that and it is worth it. */
async function framed(
  status: number,
  headers: Readonly<Record<string, string>>,
  plain: Pieced,
  exchange: Exchange,
) {
  const { headers: asked } = exchange.request;
  const compression = messageCompressionFor(asked["accept-encoding"], asked["content-encoding"]);
  const { body, coding } = await compressed(plain, compression, exchange);
  return {
    status,
    headers: {
      ...headers,
      ...(coding !== undefined && { "content-encoding": coding }),
      "content-length": lengthOf(body),
    },
    body,
  };
}
