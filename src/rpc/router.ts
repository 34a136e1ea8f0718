import { createConnectRouter, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { callLimitsOf } from "#src/pipeline/call-limits.ts";
import { admissionOf, type Gate } from "#src/pipeline/gate.ts";
import { policyOf } from "#src/pipeline/policy.ts";
import { answersSecret, compressFromBytes } from "#src/pipeline/compression.ts";
import type { ServedService } from "#src/platform/served-service.ts";
import { compressions } from "./compression.ts";
import { explainMessages } from "./framework-failure.ts";
import { strictJson } from "./strict-json.ts";

const uncompressed = { compressMinBytes: Number.MAX_SAFE_INTEGER };

/** For what has nothing long to ask, and is read in one go. */
const shortQuestions = { readMaxBytes: 16 * 1024 };

/**
 * What anybody may call takes short questions, and is not compressed: that would cost a thousand times as much as to
 * answer from what is already encoded.
 */
const withoutKey = { ...shortQuestions, ...uncompressed };

/** One procedure, over gRPC, gRPC-Web and Connect. */
export type ProcedureHandler = ConnectRouter["handlers"][number];

/** The handlers of all procedures, by their path `/<package>.<Service>/<Method>`. */
export function createProcedures(parts: {
  services: readonly ServedService[];
  gate: Gate;
  interceptor: Interceptor;
  shutdownSignal: AbortSignal;
}): ReadonlyMap<string, ProcedureHandler> {
  const { services, gate, interceptor, shutdownSignal } = parts;
  const router = createConnectRouter({
    acceptCompression: compressions,
    compressMinBytes: compressFromBytes,
    requestGate: (context) => gate(admissionOf(context)),
    interceptors: [interceptor, explainMessages],
    shutdownSignal,
  });
  for (const { desc, impl } of services) {
    for (const method of desc.methods) {
      const handle = impl[method.localName];
      // Of our own services the pipeline has checked it; the standard ones are not joined there.
      if (typeof handle !== "function") throw new Error(`${desc.typeName}/${method.name} is not implemented`);
      // The contract and the code were matched by `serve`; the router's types need each method by name.
      router.rpc(method as never, handle as never, {
        jsonOptions: strictJson(method.input),
        // Connect-ES allows 4 GiB unless told otherwise: five bytes would reserve all of it.
        readMaxBytes: callLimitsOf(method).messageBytes,
        ...(method.methodKind !== "unary" && shortQuestions),
        ...(answersSecret(method) && uncompressed),
        ...(policyOf(method).access.case === "public" && withoutKey),
      });
    }
  }
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
}
