import type { Response } from "#src/platform/http.ts";

/** Answers with the error body of the REST paths; for failures so early that no protocol is known yet. */
export function answerError(response: Response, status: number, message: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ error: message }));
}
