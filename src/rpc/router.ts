import { createConnectRouter, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import type { Gate } from "#src/pipeline/gate.ts";
import type { ServedService } from "#src/platform/served-service.ts";
import { strictJson } from "./strict-json.ts";

/** One procedure, over gRPC, gRPC-Web and Connect. */
export type ProcedureHandler = ConnectRouter["handlers"][number];

/** The handlers of all procedures, by their path `/<package>.<Service>/<Method>`. */
export function createProcedures(parts: {
  services: readonly ServedService[];
  gate: Gate;
  interceptors: Interceptor[];
  readMaxBytes: number;
  shutdownSignal: AbortSignal;
}): ReadonlyMap<string, ProcedureHandler> {
  const { services, gate, interceptors, readMaxBytes, shutdownSignal } = parts;
  const router = createConnectRouter({
    acceptCompression: [compressionGzip, compressionBrotli],
    // Connect-ES allows 4 GiB unless told otherwise: five bytes would reserve all of it.
    readMaxBytes,
    requestGate: gate,
    interceptors,
    shutdownSignal,
  });
  for (const { desc, impl } of services) {
    for (const method of desc.methods) {
      const handle = impl[method.localName];
      if (typeof handle !== "function") throw new Error(`${desc.typeName}/${method.name} is not implemented`);
      // The contract and the code were matched by `serve`; the router's types need each method by name.
      router.rpc(method as never, handle as never, { jsonOptions: strictJson(method.input) });
    }
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}
