import { readFileSync } from "node:fs";
import type { Handler, Response } from "#src/platform/http.ts";

/** Whether the service takes calls. */
interface Readiness {
  readonly ready: boolean;
}

/** What is served beside the methods: what load balancers ask, and the description of the REST paths. */
export function createPages(readiness: Readiness): ReadonlyMap<string, Handler> {
  const openApi = readFileSync(new URL("../../gen/openapi.json", import.meta.url));
  return new Map<string, Handler>([
    // Alive: the process answers. Whether it should be sent calls is the other question.
    ["/healthz", page(() => [200, '{"status":"ok"}'])],
    ["/readyz", page(() => (readiness.ready ? [200, '{"status":"ready"}'] : [503, '{"error":"not ready"}']))],
    ["/openapi.json", page(() => [200, openApi])],
  ]);
}

function page(content: () => [status: number, json: string | Buffer]): Handler {
  return (request, response) => {
    const reads = request.method === "GET" || request.method === "HEAD";
    if (!reads) response.setHeader("allow", "GET, HEAD");
    const [status, json] = reads ? content() : [405, '{"error":"use GET"}'];
    response.statusCode = status;
    response.setHeader("content-type", "application/json");
    // Both kinds of response take this call; only their types cannot be called as one.
    (response as Response & { end(body?: string | Buffer): void }).end(
      request.method === "HEAD" ? undefined : json,
    );
  };
}
