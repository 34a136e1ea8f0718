import { anyJsonIn } from "#src/json/kept-texts.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import { readBody } from "#src/pipeline/body.ts";
import { compressedAnswer, compressionFor } from "#src/pipeline/compression.ts";
import type { Exchange } from "#src/pipeline/exchange.ts";
import type { Answer, Codec } from "#src/pipeline/lane.ts";
import { lengthOf, type Pieced } from "#src/platform/bytes.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { matchesTag } from "#src/platform/etag.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";
import type { Request } from "#src/platform/http.ts";
import { jsonOfBody, refuseEncoding } from "./body.ts";
import { decodeRequest } from "./decode.ts";
import { MessageTooLarge } from "./errors.ts";
import type { Route } from "./router.ts";
import { decodeWhole, isWhole, withOtherType } from "./whole-body.ts";

const none: ReadonlySet<string> = new Set();

/** Frames the call of one route. */
export function restCodec(
  route: Route,
  query: string,
  failureOf: (thrown: unknown, request: Request) => HttpFailure,
): Codec {
  const { body, httpMethod, method, responseBody, bare, status, wholeBody, hasTag } = route.binding;
  const shape = { only: responseBody, wrapIn: bare ? undefined : "data" };
  const kept = body === "*" ? anyJsonIn(method.input).names : none;
  return {
    protocolName: "rest",
    deadline: (_request, mostMs) => ({ timeoutMs: mostMs }),
    async read({ request, holding, limits }) {
      refuseEncoding(request);
      const maxBytes = body === undefined ? 0 : limits.messageBytes;
      const bytes = await readBody(request, maxBytes, holding);
      if (bytes === undefined) {
        throw body === undefined
          ? new InvalidRequest(`this ${httpMethod} takes no body: send fields in path and query`)
          : new MessageTooLarge(maxBytes);
      }
      if (wholeBody !== undefined && isWhole(wholeBody, request, bytes)) {
        return decodeWhole(wholeBody, route, query, bytes);
      }
      if (bytes.length > limits.jsonBytes)
        throw new MessageTooLarge(limits.jsonBytes, wholeBody?.field.jsonName);
      const json = await jsonOfBody(request, bytes, kept).catch((error: unknown) => {
        throw wholeBody === undefined ? error : withOtherType(wholeBody, error);
      });
      return decodeRequest(route, query, json);
    },
    async answer(exchange, message) {
      const headers = hasTag ? withTag(exchange.answerHeaders()) : exchange.answerHeaders();
      if (hasTag && isKnownTo(exchange.request, headers)) return { status: 304, headers };
      const json = await jsonPiecesOf(method.output, message, shape);
      const answer = jsonAnswer(status, headers, json);
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

/** Its caller may keep the answer, and has to ask whether it is still the same; nobody in between may. */
function withTag(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return headers["etag"] === undefined ? headers : { ...headers, "cache-control": "private, no-cache" };
}

function isKnownTo({ headers, method = "" }: Request, { etag }: Readonly<Record<string, string>>): boolean {
  return etag !== undefined && ["GET", "HEAD"].includes(method) && matchesTag(headers["if-none-match"], etag);
}

function compressionOf({ request }: Exchange) {
  return compressionFor(request.headers["accept-encoding"]);
}
