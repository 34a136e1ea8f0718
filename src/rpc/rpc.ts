import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import type { Pipeline } from "#src/pipeline/pipeline.ts";
import type { Handler } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import { serve } from "#src/platform/served-service.ts";
import { createRpcHandler, refuseUnknownProcedure } from "./handler.ts";
import { createHealthService, type Readiness } from "./grpc-health.ts";
import { createReflection } from "./reflection.ts";
import { createProcedures } from "./router.ts";

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
  },
): Rpc {
  const { readiness, shutdownSignal, log } = parts;
  const { services, contracts, publicCalls, gate, interceptors, readMaxBytes } = pipeline;
  const reflection = createReflection([...contracts, Health], publicCalls);
  const procedures = createProcedures({
    services: [
      ...services,
      serve(Health, createHealthService(readiness, contracts)),
      serve(ServerReflection, reflection.v1),
      serve(ServerReflectionV1Alpha, reflection.v1alpha),
    ],
    gate,
    interceptors,
    readMaxBytes,
    shutdownSignal,
  });
  const handle = createRpcHandler({ ...pipeline, log });
  return {
    procedures: new Map(
      [...procedures].map(([path, procedure]): [string, Handler] => [
        path,
        (request, response) => void handle(procedure, request, response),
      ]),
    ),
    refuseUnknown: (request, response) => void refuseUnknownProcedure(request, response),
  };
}
