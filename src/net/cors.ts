import { cors } from "@connectrpc/connect";
import type { Handler, Request, Response } from "#src/platform/http.ts";
import { answerFailure } from "./response.ts";

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"].join(", ");

const allowedHeaders = [
  ...new Set([
    ...cors.allowedHeaders.map((name) => name.toLowerCase()),
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "x-request-id",
  ]),
].join(", ");

const exposedHeaders = [
  ...cors.exposedHeaders.map((name) => name.toLowerCase()),
  "x-request-id",
  "x-error-reason",
  "www-authenticate",
  "retry-after",
  "ratelimit",
  "ratelimit-policy",
  "allow",
  "etag",
  "x-patchbay-source",
  "x-patchbay-attempts",
].join(", ");

// As long as browsers remember the answer to a preflight; Chrome's ceiling.
const preflightSeconds = 7200;

/**
 * Lets pages of the given origins, compared exactly, call the service from a browser. Callers authenticate with a
 * header of their own, so cookies are never asked for.
 */
export function withCors(handler: Handler, origins: readonly string[]): Handler {
  if (origins.length === 0) return handler;
  const allowed = new Set(origins);
  return (request, response) => {
    const { origin } = request.headers;
    // Also without an origin: a cache must not hand this response to a page.
    response.setHeader("vary", "origin");
    if (origin !== undefined && allowed.has(origin)) {
      response.setHeader("access-control-allow-origin", origin);
      response.setHeader("access-control-expose-headers", exposedHeaders);
      if (isPreflight(request)) return allowPreflight(response);
    } else if (isPreflight(request)) {
      return answerFailure(response, {
        status: 403,
        reason: "INVALID_REQUEST",
        message: "pages of this origin may not call: add it to PATCHBAY_CORS_ORIGINS",
      });
    }
    handler(request, response);
  };
}

function isPreflight({ method, headers }: Request): boolean {
  return (
    method === "OPTIONS" &&
    headers.origin !== undefined &&
    headers["access-control-request-method"] !== undefined
  );
}

function allowPreflight(response: Response): void {
  response.setHeader("access-control-allow-methods", methods);
  response.setHeader("access-control-allow-headers", allowedHeaders);
  response.setHeader("access-control-max-age", preflightSeconds);
  response.statusCode = 204;
  response.end();
}
