import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, type GrpcTransportOptions } from "@connectrpc/connect-node";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { type Admit, createAdmit, type RequestOptions } from "./admit.ts";
import { boundMs } from "./answers.ts";
import { type ApiKey, authorizationOf } from "./authorization.ts";
import { presentKey } from "./connect.ts";
import { type ConnectGuard, createConnectGuard } from "./guard-connect.ts";
import { createHttpGuard, type HttpGuard } from "./guard-http.ts";
import { createTellProblem } from "./problems.ts";
import { UnreferencedSessions } from "./unreferenced-sessions.ts";
import { createVerifier, type Question } from "./verifier.ts";
import type { Verdict } from "./verdict.ts";

export type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
export type { Admit, RequestOptions } from "./admit.ts";
export type { ApiKey } from "./authorization.ts";
export { principalKey, type ConnectGuard } from "./guard-connect.ts";
export { principalOf, type HttpGuard, type NodeRequest, type NodeResponse } from "./guard-http.ts";
export type { MethodRequirement, MethodRequirements } from "./guard-rpc.ts";
export type { GuardedRequest, Requirement, RequirementOf } from "./guarded-request.ts";
export type { Admission, Refusal, Verdict } from "./verdict.ts";
export type { Question } from "./verifier.ts";

/**
 * Where Patchbay is, and the guard's own key, which needs `keys:verify`; beside whatever `createGrpcTransport` of
 * @connectrpc/connect-node takes. `defaultTimeoutMs` is how long an answer of Patchbay's may take: 2 seconds unless
 * told otherwise, and 5 at most.
 */
export interface GuardOptions extends Omit<GrpcTransportOptions, OwnConnection>, RequestOptions {
  apiKey: ApiKey;
  /**
   * Is told why requests are refused that Patchbay did not refuse: it cannot be reached, or refuses the guard's own
   * key. The same is told once in ten seconds. A warning of the process if absent.
   */
  onError?: (error: Error) => void;
}

/** What a guard does by itself: its stream tells that the connection lives, and it must not keep the process alive. */
type OwnConnection = "sessionManager" | "pingIntervalMs" | "pingTimeoutMs" | "pingIdleConnection";

/**
 * Stands before the endpoints of a service and lets in who presents a key of Patchbay's that is good for them. What
 * Patchbay said of a key is used for 5 seconds at most, and no longer than it takes to hear that the key changed.
 * While Patchbay cannot say, everybody is refused.
 */
export interface Guard extends HttpGuard, ConnectGuard {
  /** Answers one question about one key: what all the others are made of. */
  verify(question: Question): Promise<Verdict>;
  /** Decides about a request of any other protocol. */
  readonly admit: Admit;
  /** Ends the stream of changes. Requests that are still to come ask Patchbay one by one. */
  close(): void;
}

/** A guard, which opens its connection with the first request and does not keep the process alive. */
export function createGuard(options: GuardOptions): Guard {
  const { apiKey, onError = warn, environment } = options;
  // The earliest moment to find that a variable was not set.
  if (typeof apiKey === "string") authorizationOf(apiKey);
  const monotonicNow = () => performance.now();
  const tell = createTellProblem(onError, monotonicNow);
  // Changes are heard of over the connection that asks, so from the very replica that answers, if there is no proxy.
  // Its pings stay off: in 2.2.0 they throw where nobody catches, and hold up requests for ever.
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
          wasNotSeen(error) ? client.verifyKey(request, { timeoutMs }) : Promise.reject(error),
        ),
    listen: (signal) => client.watchRevocations({}, { signal, timeoutMs: 0 }),
    hangUp: () => sessionManager.abort(),
    tell,
    monotonicNow,
  });
  const verify: Guard["verify"] = (question) =>
    verifier.verify({ ...question, environment: question.environment ?? environment ?? "" });
  const admit = createAdmit({ verify, tell, options });
  return {
    verify,
    admit,
    ...createHttpGuard(admit),
    ...createConnectGuard(admit),
    close: () => verifier.close(),
  };
}

/** Whether the call was turned away unread, as by a server that was about to stop: only then it may go out again. */
function wasNotSeen(error: unknown): boolean {
  return error instanceof ConnectError && error.rawMessage.includes("REFUSED_STREAM");
}

function warn(error: Error): void {
  process.emitWarning(error);
}
