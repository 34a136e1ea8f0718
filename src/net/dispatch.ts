import { targetOf, type Handler } from "#src/platform/http.ts";
import { isGrpc } from "#src/rpc/handler.ts";
import type { Rpc } from "#src/rpc/rpc.ts";

/** Hands each request to what serves its path: an RPC, a page, or else the REST paths. */
export function createDispatch(parts: {
  rpc: Rpc;
  pages: ReadonlyMap<string, Handler>;
  rest: Handler;
}): Handler {
  const { rpc, pages, rest } = parts;
  return (request, response) => {
    const { path } = targetOf(request);
    const handle =
      rpc.procedures.get(path) ?? pages.get(path) ?? (isGrpc(request) ? rpc.refuseUnknown : rest);
    handle(request, response);
  };
}
