import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { ReasonName } from "#src/platform/errors.ts";
import type { Response } from "#src/platform/http.ts";

/** A failure so early that no protocol is known yet. */
export interface EarlyFailure {
  readonly status: number;
  readonly reason: ReasonName;
  readonly message: string;
}

/** Headers of every answer, whichever part gives it. An answer that may be stored says so by itself. */
export const everyAnswer = { "cache-control": "no-store", "x-content-type-options": "nosniff" } as const;

/** Answers a failure as the REST paths do. */
export function answerFailure(response: Response, failure: EarlyFailure): void {
  const requestId = response.getHeader("x-request-id") ?? randomUUID();
  const { headers, body } = contentOf(failure, String(requestId));
  response.statusCode = failure.status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(body);
}

/** The same as the bytes of an HTTP/1.1 answer, which is the last one of its connection. */
export function bytesOfFailure(failure: EarlyFailure, requestId: string): string {
  const { headers, body } = contentOf(failure, requestId);
  const lines = Object.entries({
    ...everyAnswer,
    ...headers,
    "content-length": Buffer.byteLength(body),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status]}\r\n${lines.join("")}\r\n${body}`;
}

function contentOf({ reason, message }: EarlyFailure, requestId: string) {
  return {
    headers: { "content-type": "application/json", "x-request-id": requestId, "x-error-reason": reason },
    body: JSON.stringify({ error: message }),
  };
}
