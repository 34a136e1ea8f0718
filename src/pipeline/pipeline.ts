import type { DescService } from "@bufbuild/protobuf";
import { createContextValues, type ContextValues, type Interceptor } from "@connectrpc/connect";
import type { Refusals } from "#src/audit/refusals.ts";
import type { Authenticate } from "#src/verification/authenticate.ts";
import type { Limits } from "#src/verification/limits.ts";
import type { ByteBudget } from "#src/platform/byte-budget.ts";
import { callKey, type Environment } from "#src/platform/caller.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";
import { cut, onceClosed, type Request, type Response } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import type { ServedService } from "#src/platform/served-service.ts";
import { createCallUnary, type CallUnary } from "./call-unary.ts";
import { toHttpFailure } from "./failures.ts";
import { createGate, type FourEyesDeletion, type Gate } from "./gate.ts";
import { createBehindGate } from "./behind-gate.ts";
import { createInterceptor } from "./interceptors.ts";
import { createLane, type Lane } from "./lane.ts";
import { requirePolicies } from "./policy.ts";
import { joinServices } from "./join-services.ts";
import { createPublicCalls, type PublicCalls } from "./public-calls.ts";
import { createReportFailure, type ReportFailure } from "./report-failure.ts";
import { callOfRequest } from "./request-call.ts";
import { createRequestValidator } from "./validation.ts";

/** What each call passes, whatever its protocol: the protocols differ in their framing only. */
export interface Pipeline {
  readonly services: readonly ServedService[];
  readonly contracts: readonly DescService[];
  /** What bounds calls without a key; the gate asks it, and what is no call asks it itself. */
  readonly publicCalls: PublicCalls;
  /** First, from the headers and before the body is read. */
  readonly gate: Gate;
  /** Then around the handler, once the message is there: for what Connect serves. */
  readonly interceptor: Interceptor;
  /** The same with the handler of one unary call, for all others. */
  readonly call: CallUnary;
  /** Gate, body and handler of one unary call, framed by a protocol's codec. */
  readonly lane: Lane;
  /** What its caller may see of anything thrown. */
  readonly report: ReportFailure;
  /** The values of one request, which hold its call. What the call holds in memory is given back with the response. */
  readonly contextValues: (request: Request, response: Response) => ContextValues;
  /** What its caller may see of anything thrown, over HTTP. */
  readonly failureOf: (thrown: unknown, request: Request) => HttpFailure;
}

/**
 * Throws for contracts that leave open which callers a method admits or what it records, and for methods that no
 * feature serves, or two do.
 */
export function createPipeline(parts: {
  contracts: readonly DescService[];
  /** What the features serve of them. */
  served: readonly ServedService[];
  authenticate: Authenticate;
  limits: Limits;
  refusals: Pick<Refusals, "note">;
  environment: Environment;
  fourEyesDeletion: FourEyesDeletion;
  /** Of the bytes that calls may hold. */
  budget: ByteBudget;
  /** Counts the calls of each address that come without a key. */
  publicLimiter: RateLimiter;
  log: Log;
}): Pipeline {
  const { contracts, budget, log } = parts;
  requirePolicies(contracts);
  const services = joinServices(contracts, parts.served);
  const report = createReportFailure(log, parts.refusals);
  const publicCalls = createPublicCalls(parts.publicLimiter);

  function contextValues(request: Request, response: Response): ContextValues {
    const call = callOfRequest(request);
    const holding = budget.open(() => call.caller?.orgId ?? "");
    call.holding = holding;
    call.cut = () => cut(response);
    onceClosed(response, () => holding.release());
    return createContextValues().set(callKey, call);
  }

  const validator = createRequestValidator(contracts);
  const behindGate = createBehindGate(validator);
  const gate = createGate({ ...parts, publicCalls, report });
  const call = createCallUnary(services, behindGate, report);
  return {
    services,
    contracts,
    publicCalls,
    gate,
    interceptor: createInterceptor(report, behindGate, validator),
    report,
    call,
    lane: createLane({ gate, call, contextValues }),
    contextValues,
    failureOf: (thrown, request) => toHttpFailure(report(thrown, callOfRequest(request))),
  };
}
