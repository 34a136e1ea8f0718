import type { IncomingHttpHeaders } from "node:http";
import { secretOfBearer } from "#src/api-keys/secret-format.ts";
import type { Fields } from "#src/outbound/headers.ts";
import { headerOf, type Request, type Response } from "#src/platform/http.ts";

/** What a browser says of the page that calls, which is nothing to the service. */
const ofPages = /^(?:origin|referer|access-control-.*|sec-.*)$/;

/**
 * The caller's headers for the service, those left out that are for us, or for nobody. An SDK that was given the
 * caller's key of Patchbay may put it into a header of its own, too, such as X-Api-Key.
 */
export function requestHeadersOf(request: Request): Record<string, string> {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  const key = secretOfBearer(request.headers.authorization ?? "");
  for (const name of Object.keys(request.headers)) {
    if (name.startsWith(":") || ofPages.test(name)) continue;
    const value = headerOf(request, name);
    if (value === undefined || (key !== undefined && value.includes(key))) continue;
    headers[name] = value;
  }
  return headers;
}

/** With these a service speaks for its whole origin, which here is ours; or of what each answer of ours says. */
const ofOurs = new Set([
  "alt-svc",
  "cache-control",
  "clear-site-data",
  "nel",
  "origin-agent-cluster",
  "ratelimit",
  "ratelimit-policy",
  "report-to",
  "reporting-endpoints",
  "service-worker-allowed",
  "strict-transport-security",
  "x-content-type-options",
  "x-request-id",
]);
const oursBegin = /^(?:access-control-|x-patchbay-)/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** The service's fields for the caller, in a head or in trailers, those left out that would speak for us. */
export function passableFields(fields: Fields): Record<string, string> {
  const passable: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of fields) {
    if (ofOurs.has(name) || oursBegin.test(name) || !fieldValue.test(value)) continue;
    passable[name] = value;
  }
  return passable;
}

/** The head of the service's answer for the caller. Its request id has another name. */
export function answerHeadersOf(status: number, fields: Fields, response: Response): Record<string, string> {
  const headers = passableFields(fields);
  const requestId = fields.get("x-request-id");
  if (requestId !== undefined) headers["x-upstream-request-id"] = requestId;
  const { vary } = headers;
  const ourVary = response.getHeader("vary");
  if (vary !== undefined && ourVary !== undefined) headers["vary"] = `${String(ourVary)}, ${vary}`;
  if (status === 204) delete headers["content-length"];
  return headers;
}

/** Whether the request asks for a WebSocket. Other protocols that it offers are passed over, as HTTP allows. */
export function asksForWebSocket(headers: IncomingHttpHeaders): boolean {
  return (headers.upgrade ?? "").split(",").some((one) => /^\s*websocket\b/i.test(one));
}
