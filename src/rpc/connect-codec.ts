import type { Exchange } from "#src/pipeline/exchange.ts";
import { compressed } from "#src/pipeline/compression.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { lengthOf, type Pieced } from "#src/platform/bytes.ts";
import { headerOf } from "#src/platform/http.ts";
import { messageCompressionFor } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { connectErrorBytes, httpStatusOf } from "./error-frames.ts";
import type { LaneParts } from "./lane-codec.ts";
import type { MessageFormat } from "./message-format.ts";
import { inflated, readMessage } from "./unary-body.ts";

/** Unary calls of the Connect protocol (https://connectrpc.com/docs/protocol). */
export function connectCodec({ readMaxBytes, timeoutMs, report }: LaneParts, format: MessageFormat): Codec {
  return {
    protocolName: "connect",
    deadline: (request) => deadlineOf("connect", headerOf(request, "connect-timeout-ms"), timeoutMs),
    async read(exchange) {
      const { method, request } = exchange;
      const bytes = await readMessage(exchange, readMaxBytes);
      const plain = await inflated(bytes, request.headers["content-encoding"], exchange, readMaxBytes);
      return format.read(method.input, plain);
    },
    async answer(exchange, message) {
      const headers = { ...ownHeaders(exchange), "content-type": `application/${format.name}` };
      return framed(200, headers, await format.write(exchange.method.output, message), exchange);
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
