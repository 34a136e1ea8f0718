import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request, over either version of HTTP. */
export type Request = IncomingMessage | Http2ServerRequest;

/** The response to a request, over either version of HTTP. */
export type Response = ServerResponse | Http2ServerResponse;

/** What answers requests. */
export type Handler = (request: Request, response: Response) => void;

/** The path of a request, still encoded, without its query. */
export function pathOf(request: Request): string {
  const url = request.url ?? "";
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}
