import { anyJsonIn } from "#src/json/kept-texts.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import { readBody } from "#src/pipeline/body.ts";
import { compressedAnswer, compressionFor } from "#src/pipeline/compression.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import type { Answer, Codec } from "#src/pipeline/lane.ts";
import { lengthOf, type Pieced } from "#src/platform/bytes.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";
import type { Request } from "#src/platform/http.ts";
import { jsonOfBody, refuseEncoding } from "./body.ts";
import { decodeRequest } from "./decode.ts";
import { MessageTooLarge } from "./errors.ts";
import type { Route } from "./router.ts";

const none: ReadonlySet<string> = new Set();

/** Frames the call of one route. */
export function restCodec(
  route: Route,
  query: string,
  parts: {
    readMaxBytes: number;
    timeoutMs: number;
    failureOf: (thrown: unknown, request: Request) => HttpFailure;
  },
): Codec {
  const { readMaxBytes, timeoutMs, failureOf } = parts;
  const { body, httpMethod, method, responseBody, bare, status } = route.binding;
  const shape = { only: responseBody, wrapIn: bare ? undefined : "data" };
  const kept = body === "*" ? anyJsonIn(method.input).names : none;
  return {
    protocolName: "rest",
    deadline: () => ({ timeoutMs }),
    async read({ request, holding }) {
      refuseEncoding(request);
      const maxBytes = body === undefined ? 0 : readMaxBytes;
      const bytes = await readBody(request, maxBytes, holding);
      if (bytes === undefined) {
        throw body === undefined
          ? new InvalidRequest(`this ${httpMethod} takes no body: send fields in path and query`)
          : new MessageTooLarge(maxBytes);
      }
      return decodeRequest(route, query, await jsonOfBody(request, bytes, kept));
    },
    async answer(exchange, message) {
      const json = await jsonPiecesOf(method.output, message, shape);
      const answer = jsonAnswer(status, exchange.answerHeaders(), json);
      return compressedAnswer(answer, compressionOf(exchange), exchange);
    },
    refuse(exchange, thrown) {
      const answer = failureAnswer(failureOf(thrown, exchange.request), exchange.answerHeaders());
      return compressedAnswer(answer, compressionOf(exchange), exchange);
    },
  };
}

/** A failure as REST answers it. */
export function failureAnswer(shown: HttpFailure, headers: Readonly<Record<string, string>>): JsonAnswer {
  return jsonAnswer(shown.status, { ...headers, ...shown.headers, "x-error-reason": shown.reason }, [
    Buffer.from(JSON.stringify({ error: shown.message })),
  ]);
}

interface JsonAnswer extends Answer {
  readonly body: Pieced;
}

/** JSON as REST answers it. */
export function jsonAnswer(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Pieced,
): JsonAnswer {
  return {
    status,
    headers: { ...headers, "content-type": "application/json", "content-length": lengthOf(body) },
    body,
  };
}

function compressionOf({ request }: Exchange) {
  return compressionFor(request.headers["accept-encoding"]);
}
