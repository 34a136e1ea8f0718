import { targetOf, type Handler } from "#src/platform/http.ts";
import type { OpenRoutes } from "#src/rest/open-routes.ts";
import type { RawRoutes } from "#src/rest/raw-routes.ts";
import { isGrpc } from "#src/rpc/handler.ts";
import type { Rpc } from "#src/rpc/rpc.ts";

/** Hands each request to what serves its path: an RPC, a page, a raw or an open route, or else the REST paths. */
export function createDispatch(parts: {
  rpc: Rpc;
  pages: ReadonlyMap<string, Handler>;
  rawRoutes: RawRoutes;
  openRoutes: OpenRoutes;
  rest: Handler;
}): Handler {
  const { rpc, pages, rawRoutes, openRoutes, rest } = parts;
  return (request, response) => {
    const { path } = targetOf(request);
    const handle =
      rpc.procedures.get(path) ??
      pages.get(path) ??
      rawRoutes.find(path) ??
      openRoutes.find(path) ??
      (isGrpc(request) ? rpc.refuseUnknown : rest);
    handle(request, response);
  };
}
