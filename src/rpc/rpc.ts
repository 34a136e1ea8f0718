import type { DescMethodUnary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { varyByEncoding } from "#src/pipeline/compression.ts";
import type { Pipeline } from "#src/pipeline/pipeline.ts";
import { policyOf } from "#src/pipeline/policy.ts";
import { callOf } from "#src/platform/caller.ts";
import { hostOf, type Handler } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import { serve } from "#src/platform/served-service.ts";
import { createRpcHandler, isGrpc, refuseUnknownProcedure } from "./handler.ts";
import { tidyCoding } from "./compression.ts";
import { createHealthService, type Readiness } from "./grpc-health.ts";
import { createReflection } from "./reflection.ts";
import { createCodecs } from "./lane-codec.ts";
import { createProcedures, type ProcedureHandler } from "./router.ts";

/** All methods over gRPC, gRPC-Web and Connect. */
export interface Rpc {
  /** By their paths `/<package>.<Service>/<Method>`. */
  readonly procedures: ReadonlyMap<string, Handler>;
  /** Answers gRPC callers of a method that is not there. */
  readonly refuseUnknown: Handler;
}

/** The methods of the pipeline, and those that tools and load balancers expect of every gRPC server. */
export function createRpc(
  pipeline: Pipeline,
  parts: {
    readiness: Readiness;
    shutdownSignal: AbortSignal;
    log: Log;
    /** Whether unary calls take the lane; else Connect serves all of them. */
    unaryLane: "on" | "off";
  },
): Rpc {
  const { readiness, shutdownSignal, log } = parts;
  const { services, contracts, publicCalls, gate, interceptor } = pipeline;
  const reflection = createReflection([...contracts, Health], publicCalls);
  const procedures = createProcedures({
    services: [
      ...services,
      serve(Health, createHealthService(readiness, contracts)),
      serve(ServerReflection, reflection.v1),
      serve(ServerReflectionV1Alpha, reflection.v1alpha),
    ],
    gate,
    interceptor,
    shutdownSignal,
  });
  const handle = createRpcHandler({ ...pipeline, log });
  const codecOf = createCodecs({
    ...pipeline,
    // What the gate and the handler throw is reported already. Once more, a deadline that passed while the gate was
    // asking would hide that the key may not do this.
    report: (thrown, { values, signal }) =>
      thrown instanceof ConnectError ? thrown : pipeline.report(thrown, callOf({ values }), signal),
  });

  function handlerOf(procedure: ProcedureHandler): Handler {
    const { method } = procedure;
    const connect: Handler = (request, response) => void handle(procedure, request, response);
    // What anybody may call has limits of its own, which Connect keeps.
    if (method.methodKind !== "unary" || policyOf(method).access.case === "public") return connect;
    return (request, response) => {
      if (!isGrpc(request)) varyByEncoding(response);
      if (parts.unaryLane === "off") return connect(request, response);
      const codec = hostOf(request) === undefined ? undefined : codecOf(request);
      if (codec === undefined) return connect(request, response);
      pipeline.lane(method as DescMethodUnary, codec, request, response).catch((error: unknown) => {
        log.warn({ err: error }, "a reply could not be sent");
        response.destroy();
      });
    };
  }

  return {
    procedures: new Map([...procedures].map(([path, procedure]) => [path, tidied(handlerOf(procedure))])),
    refuseUnknown: (request, response) => void refuseUnknownProcedure(request, response),
  };
}

function tidied(handler: Handler): Handler {
  return (request, response) => {
    tidyCoding(request);
    handler(request, response);
  };
}
