import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, type GrpcTransportOptions } from "@connectrpc/connect-node";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { type ApiKey, authorizationOf } from "#src/client/authorization.ts";
import { presentKey } from "#src/client/connect.ts";
import { boundMs } from "./answers.ts";
import { type ConnectGuard, createConnectGuard } from "./connect.ts";
import { createDecide, type Decide, type RequestOptions } from "./decide.ts";
import { createHttpGuard, type HttpGuard } from "./http.ts";
import { createProblemReport } from "./problems.ts";
import { UnreferencedSessions } from "./unreferenced-sessions.ts";
import type { Verdict } from "./verdict.ts";
import { createVerifier, type Question } from "./verifier.ts";

export type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
export type { ApiKey } from "#src/client/authorization.ts";
export { principalKey, type ConnectGuard } from "./connect.ts";
export type { Decide, RequestOptions } from "./decide.ts";
export { principalOf, type HttpGuard, type NodeRequest, type NodeResponse } from "./http.ts";
export type { GuardedRequest } from "./request.ts";
export type { Requirement, RequirementOf } from "./requirement.ts";
export type { MethodRequirement, MethodRequirements } from "./rpc.ts";
export type { Admission, Refusal, Verdict } from "./verdict.ts";
export type { Question } from "./verifier.ts";

/**
 * Where Patchbay is, and the guard's own key, which needs `keys:verify`; beside whatever `createGrpcTransport` of
 * @connectrpc/connect-node takes. `defaultTimeoutMs` is how long an answer of Patchbay may take: 2 seconds if absent,
 * and 5 at most.
 */
export interface GuardOptions extends Omit<GrpcTransportOptions, OwnConnection>, RequestOptions {
  apiKey: ApiKey;
  /**
   * Called with the reason why requests are refused that Patchbay did not refuse: it cannot be reached, or refuses the
   * guard's own key. The same reason is reported once in ten seconds. A warning of the process if absent.
   */
  onError?: (error: Error) => void;
}

/** What a guard sets itself: its stream shows that the connection lives, and it must not keep the process alive. */
type OwnConnection = "sessionManager" | "pingIntervalMs" | "pingTimeoutMs" | "pingIdleConnection";

/**
 * Stands before the endpoints of a service and admits callers that present a key of Patchbay that is valid for them.
 * An answer of Patchbay about a key is used for 5 seconds at most, and no longer than until the guard hears that the
 * key changed. While Patchbay cannot be asked, every request is refused.
 */
export interface Guard extends HttpGuard, ConnectGuard {
  /** Answers one question about one key. All other methods build on it. */
  verify(question: Question): Promise<Verdict>;
  /** Decides about a request of any other protocol. */
  readonly decide: Decide;
  /** Ends the stream of revocations. Each request that comes later asks Patchbay. */
  close(): void;
}

/** A guard, which opens its connection with the first request and does not keep the process alive. */
export function createGuard(options: GuardOptions): Guard {
  const { apiKey, onError = warn, environment } = options;
  // The earliest moment to find out that a variable was not set.
  if (typeof apiKey === "string") authorizationOf(apiKey);
  const monotonicNow = () => performance.now();
  const report = createProblemReport(onError, monotonicNow);
  // The stream shares the connection of the questions, so without a proxy it comes from the replica that answers them.
  // Pings stay off: in 2.2.0 they throw where no caller can catch it, and hold up requests for ever.
  const { idleConnectionTimeoutMs = 10_000, nodeOptions } = options;
  const sessionManager = new UnreferencedSessions(options.baseUrl, { idleConnectionTimeoutMs }, nodeOptions);
  const interceptors = [...(options.interceptors ?? []), presentKey(apiKey)];
  const client = createClient(
    VerificationService,
    createGrpcTransport({ ...options, interceptors, sessionManager }),
  );
  const patienceMs = options.defaultTimeoutMs ?? 2_000;
  // An answer that took longer than the bound would be too old to be used.
  const timeoutMs = patienceMs > 0 ? Math.min(patienceMs, boundMs) : boundMs;

  const verifier = createVerifier({
    ask: (request) =>
      client
        .verifyKey(request, { timeoutMs })
        .catch((error: unknown) =>
          wasNotRead(error) ? client.verifyKey(request, { timeoutMs }) : Promise.reject(error),
        ),
    watchRevocations: (signal) => client.watchRevocations({}, { signal, timeoutMs: 0 }),
    disconnect: () => sessionManager.abort(),
    report,
    monotonicNow,
  });
  const verify: Guard["verify"] = (question) =>
    verifier.verify({ ...question, environment: question.environment ?? environment ?? "" });
  const decide = createDecide({ verify, report, options });
  return {
    verify,
    decide,
    ...createHttpGuard(decide),
    ...createConnectGuard(decide),
    close: () => verifier.close(),
  };
}

/** Whether the server refused the call unread, as one that is about to stop does: only then it may be sent again. */
function wasNotRead(error: unknown): boolean {
  return error instanceof ConnectError && error.rawMessage.includes("REFUSED_STREAM");
}

function warn(error: Error): void {
  process.emitWarning(error);
}
