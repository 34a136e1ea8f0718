import type { Response } from "#src/platform/http.ts";

/** Calls back once, when the response was sent or its connection was cut. */
export function onceClosed(response: Response, closed: () => void): void {
  // Not the HTTP/2 response itself: it stays silent when a HEAD request is cut before its answer.
  ("stream" in response ? response.stream : response).once("close", closed);
}

/** Answers with the error body of the REST paths; for failures so early that no protocol is known yet. */
export function answerError(response: Response, status: number, message: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ error: message }));
}
