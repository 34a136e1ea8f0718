import type { DescService } from "@bufbuild/protobuf";
import { createContextValues, type ContextValues, type Interceptor } from "@connectrpc/connect";
import type { Authenticate } from "#src/api-keys/authenticate.ts";
import type { Limits } from "#src/api-keys/limits.ts";
import { callKey } from "#src/platform/caller.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";
import type { Request } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import { createCallUnary, type CallUnary } from "./call-unary.ts";
import { toHttpFailure } from "./failures.ts";
import { createGate, type Gate } from "./gate.ts";
import { createInterceptors } from "./interceptors.ts";
import { requirePolicies } from "./policy.ts";
import type { PublicCalls } from "./public-calls.ts";
import { createReportFailure } from "./report-failure.ts";
import { callOfRequest } from "./request-call.ts";
import type { ServedService } from "./served-service.ts";
import { createRequestValidator } from "./validation.ts";

/** What each call passes, whatever its protocol: the protocols differ in their framing only. */
export interface Pipeline {
  readonly services: readonly ServedService[];
  readonly contracts: readonly DescService[];
  /** What bounds calls without a key; the gate asks it, and what is no call asks it itself. */
  readonly publicCalls: PublicCalls;
  /** First, from the headers and before the body is read. */
  readonly gate: Gate;
  /** Then around the handler, once the message is there. */
  readonly interceptors: Interceptor[];
  /** Interceptors and handler of one unary call, for protocols other than Connect's. */
  readonly call: CallUnary;
  /** The values of one request, which hold its call. */
  contextValues(request: Request): ContextValues;
  /** What its caller may see of anything thrown, over HTTP. */
  failureOf(thrown: unknown, request: Request): HttpFailure;
}

/** Throws for contracts that leave open who may call a method or what it records. */
export function createPipeline(parts: {
  services: readonly ServedService[];
  authenticate: Authenticate;
  limits: Limits;
  publicCalls: PublicCalls;
  fourEyesDeletion: boolean;
  log: Log;
}): Pipeline {
  const { services, publicCalls, log } = parts;
  const contracts = services.map(({ desc }) => desc);
  requirePolicies(contracts);
  const report = createReportFailure(log);
  const interceptors = createInterceptors(report, createRequestValidator(contracts));
  return {
    services,
    contracts,
    publicCalls,
    gate: createGate({ ...parts, report }),
    interceptors,
    call: createCallUnary(services, interceptors),
    contextValues: (request) => createContextValues().set(callKey, callOfRequest(request)),
    failureOf: (thrown, request) => toHttpFailure(report(thrown, callOfRequest(request))),
  };
}
