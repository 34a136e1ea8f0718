import type { Exchange } from "#src/pipeline/exchange.ts";
import { compressedAnswer } from "#src/pipeline/compression.ts";
import type { Codec } from "#src/pipeline/lane.ts";
import { headerOf } from "#src/platform/http.ts";
import { messageCompressionFor } from "./compression.ts";
import { deadlineOf } from "./deadline.ts";
import { connectErrorBytes, httpStatusOf } from "./error-frames.ts";
import type { LaneParts } from "./lane-codec.ts";
import type { MessageFormat } from "./message-format.ts";
import { inflated, readMessage } from "./unary-body.ts";

/** Unary calls of the Connect protocol (https://connectrpc.com/docs/protocol). */
export function connectCodec({ report }: LaneParts, format: MessageFormat): Codec {
  return {
    protocolName: "connect",
    deadline: (request, mostMs) => deadlineOf("connect", headerOf(request, "connect-timeout-ms"), mostMs),
    async read(exchange) {
      const { method, request, limits } = exchange;
      const maxBytes = format.limitOf(limits);
      const bytes = await readMessage(exchange, maxBytes);
      const coding = request.headers["content-encoding"];
      const plain = await inflated(bytes, coding, exchange, maxBytes);
      return format.read(method.input, plain);
    },
    async answer(exchange, message) {
      const headers = { ...ownHeaders(exchange), "content-type": `application/${format.name}` };
      const body = await format.write(exchange.method.output, message);
      return compressedAnswer({ status: 200, headers, body }, compressionOf(exchange), exchange);
    },
    refuse(exchange, thrown) {
      const error = report(thrown, exchange);
      const headers = {
        ...ownHeaders(exchange),
        ...Object.fromEntries(error.metadata),
        "content-type": "application/json",
      };
      const answer = { status: httpStatusOf[error.code], headers, body: [connectErrorBytes(error)] };
      return compressedAnswer(answer, compressionOf(exchange), exchange);
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

function compressionOf({ request }: Exchange) {
  return messageCompressionFor(request.headers["accept-encoding"], request.headers["content-encoding"]);
}
