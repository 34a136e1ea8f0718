import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request, over either version of HTTP. */
export type Request = IncomingMessage | Http2ServerRequest;

/** The response to a request, over either version of HTTP. */
export type Response = ServerResponse | Http2ServerResponse;

/** What answers requests. */
export type Handler = (request: Request, response: Response) => void;

/** What a request asks for: its path, still encoded, and its query without the question mark. */
export function targetOf({ url = "" }: Request): { path: string; query: string } {
  // The absolute form is for proxies, but every server has to accept it (RFC 9112, 3.2.2).
  const target = url.replace(/^https?:\/\/[^/?]*/i, "");
  const end = target.includes("?") ? target.indexOf("?") : target.length;
  return { path: target.slice(0, end), query: target.slice(end + 1) };
}
