import { constants } from "node:http2";
import { Readable } from "node:stream";
import type { Request } from "#src/platform/http.ts";
import type { RawExchange } from "#src/platform/raw-route.ts";
import { InvalidCall } from "../errors.ts";

/** A body on its way to the service. */
export interface Upload {
  /** As a whole, if it is short; as it comes, if it may be long; undefined for none. */
  readonly body: Buffer | Readable | undefined;
  /** Of a streamed one, if it was announced. */
  readonly length: number | undefined;
}

/** Of this length, a body is read before anything is sent, so that the call can be made a second time. */
const maxWholeBytes = 1024 * 1024;

/** The body of a request. One whose length is not announced is never read as a whole: it may not end. */
export async function uploadOf(exchange: RawExchange): Promise<Upload> {
  const { request } = exchange;
  if (exchange.hasNoBody) return { body: undefined, length: undefined };
  if (hasTransferCoding(request)) {
    throw new InvalidCall(
      "transfer-encoding: only chunked is undone here; send the body without another coding, or with Content-Encoding",
    );
  }
  const announced = request.headers["content-length"];
  const length = announced === undefined ? undefined : Number(announced);
  if (length !== undefined && length <= maxWholeBytes) {
    return { body: await exchange.readBody(maxWholeBytes), length: undefined };
  }
  return { body: streamOf(request), length };
}

/** Whether the body is coded for this connection, which Node leaves as it is, while the next one does not say so. */
function hasTransferCoding({ headers }: Request): boolean {
  const codings = headers["transfer-encoding"];
  return codings !== undefined && codings.trim().toLowerCase() !== "chunked";
}

/**
 * The request's body by itself. Whoever is done with it destroys it, and that of a Node request would cut the client's
 * connection, which waits for the answer.
 */
function streamOf(request: Request): Readable {
  const take = (piece: Buffer) => {
    if (!body.push(piece)) request.pause();
  };
  const settle = () => {
    if (hasEnded(request)) body.push(null);
    else body.destroy(new Error("the caller broke off its body"));
  };
  // The state of an HTTP/2 stream follows its last frame a little later.
  const end = () => ("stream" in request ? void setImmediate(settle) : settle());
  const body = new Readable({
    read: () => void request.resume(),
    destroy(error, done) {
      request.off("data", take).off("end", end).pause();
      done(error);
    },
  });
  // What reads it listens by itself.
  body.on("error", () => {});
  request.on("data", take).on("end", end).pause();
  return body;
}

/** On HTTP/2, a body that is broken off by a reset looks as if it had ended. */
function hasEnded(request: Request): boolean {
  if (!("stream" in request)) return request.complete;
  return request.stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE;
}
