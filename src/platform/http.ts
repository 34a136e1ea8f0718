import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";

/** A request, over either version of HTTP. */
export type Request = IncomingMessage | Http2ServerRequest;

/** The response to a request, over either version of HTTP. */
export type Response = ServerResponse | Http2ServerResponse;

/** What answers requests. */
export type Handler = (request: Request, response: Response) => void;

/** What a request asks for: its path, still encoded, and its query without the question mark. */
export function targetOf({ url = "" }: Pick<Request, "url">): { path: string; query: string } {
  // The absolute form is for proxies, but every server has to accept it (RFC 9112, 3.2.2).
  const target = url.replace(/^https?:\/\/[^/?]*/i, "");
  const end = target.includes("?") ? target.indexOf("?") : target.length;
  return { path: target.slice(0, end), query: target.slice(end + 1) };
}

/** The type of a request's body, in lower case: it means the same in any (RFC 9110, 8.3.1). Empty if it has none. */
export function contentTypeOf({ headers }: Pick<Request, "headers">): string {
  return (headers["content-type"] ?? "").toLowerCase();
}

/** A header by its name in lower case, as one line even if it was sent in several. */
export function headerOf({ headers }: Pick<Request, "headers">, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/** DNS has no longer names, and a port follows. The time to read a host grows with the square of its length. */
const longestHost = 253 + ":65535".length;

/** The host that a request names, and its port; undefined if it names none, or no valid one. */
export function hostOf(request: Request): string | undefined {
  const [, inTarget] = /^https?:\/\/([^/?]*)/i.exec(request.url ?? "") ?? [];
  const inHeader = "authority" in request ? request.authority : request.headers.host;
  return inHeader !== undefined && [inHeader, inTarget ?? inHeader].every(isHost) ? inHeader : undefined;
}

function isHost(text: string): boolean {
  return text.length <= longestHost && URL.canParse(`http://${text}`);
}

/**
 * A header's value without the space around it, which means nothing (RFC 9110, 5.5). Not by a regular expression: one
 * that looks for space at the end begins anew at each of the thousands of blanks that a client may send.
 */
export function withoutOuterSpace(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isSpace(value, start)) start += 1;
  while (end > start && isSpace(value, end - 1)) end -= 1;
  return value.slice(start, end);
}

function isSpace(text: string, index: number): boolean {
  const character = text[index];
  return character === " " || character === "\t";
}

/** Calls back once, when the response was sent or its connection was cut. */
export function onceClosed(response: Response, closed: () => void): void {
  // Not the HTTP/2 response itself: it stays silent when a HEAD request is cut before its answer.
  ("stream" in response ? response.stream : response).once("close", closed);
}

/** Whether nothing more can be sent. */
export function isClosed(response: Response): boolean {
  return "stream" in response ? response.stream.destroyed : response.destroyed;
}

/** Ends an answer in a way that its reader cannot take for its end. */
export function cut(response: Response): void {
  if ("stream" in response) response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  // The reader of HTTP/1.0 takes the end of the connection for that of the body, unless it was reset.
  else if (response.req.httpVersion === "1.0") response.socket?.resetAndDestroy();
  else response.destroy();
}
