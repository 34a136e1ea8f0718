import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  Metadata,
  type ServerInterceptingCallInterface,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerMethodDefinition,
  status,
} from "@grpc/grpc-js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Guard } from "./guard.ts";
import type { GuardedRequest } from "./request.ts";
import { type RequirementOf, validateRequirement } from "./requirement.ts";
import {
  type CodesByStatus,
  failureOf,
  type MethodRequirement,
  type MethodRequirements,
  requirementOf,
} from "./rpc.ts";
import { refusalOf, type Refusal, type Verdict } from "./verdict.ts";

export type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
export type { MethodRequirement, MethodRequirements } from "./rpc.ts";

// Kept by the object itself: an entry of the metadata could as well come from the client.
const principals = new WeakMap<Metadata, Principal>();

/** The principal that makes a call, for its handler. Throws if no guard admitted it: there is no one to act for. */
export function principalOf({ metadata }: { readonly metadata: Metadata }): Principal {
  const principal = principals.get(metadata);
  if (principal === undefined) throw new Error("no guard admitted this call, so it has no principal");
  return principal;
}

type Method = ServerMethodDefinition<unknown, unknown>;

const codes: CodesByStatus<status> = {
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  422: status.FAILED_PRECONDITION,
  429: status.RESOURCE_EXHAUSTED,
  503: status.UNAVAILABLE,
};

const undeclared = refusalOf(403, "this method has no requirement, so every call is refused");
const noSingleMessage = refusalOf(
  403,
  "distinctFromUserIds has no message to look at, so every call is refused",
);

/**
 * Puts a guard before all methods of a @grpc/grpc-js server. It should be the first of the server's interceptors: it
 * decides before any message is read, except where `distinctFromUserIds` looks at one.
 */
export function guardInterceptor(guard: Guard, requirements: MethodRequirements<Method>): ServerInterceptor {
  if (typeof requirements !== "function") {
    for (const [name, requirement] of Object.entries(requirements)) {
      if (requirement !== "public") validateRequirement(requirement, name);
    }
  }
  return (method: Method, call) => {
    const requirement = requirementOrNone(requirements, method);
    return requirement === "public"
      ? new ServerInterceptingCall(call)
      : guarded(guard, requirement, method, call);
  };
}

/** The requirement; none if the function for it throws, which the server would not catch. */
function requirementOrNone(
  requirements: MethodRequirements<Method>,
  method: Method,
): MethodRequirement | undefined {
  try {
    return requirementOf(requirements, method, method.path.slice(1));
  } catch {
    return undefined;
  }
}

function guarded(
  guard: Guard,
  requirement: RequirementOf<never> | undefined,
  method: Method,
  call: ServerInterceptingCallInterface,
): ServerInterceptingCall {
  const looksAtMessage = requirement?.distinctFromUserIds !== undefined && !method.requestStream;
  let answerHeaders: Readonly<Record<string, string>> = {};
  let metadata = new Metadata();

  async function verdictOn(message: unknown): Promise<Verdict> {
    if (requirement === undefined) return undeclared;
    if (method.requestStream && requirement.distinctFromUserIds !== undefined) return noSingleMessage;
    return guard.decide(requestOf(call, metadata), requirement, message as never);
  }

  async function authorize(message: unknown, goOn: () => void): Promise<void> {
    const verdict = await verdictOn(message);
    if (verdict.principal === undefined) return refuse(call, verdict);
    answerHeaders = verdict.headers;
    principals.set(metadata, verdict.principal);
    goOn();
  }

  return new ServerInterceptingCall(call, {
    start(next) {
      next({
        onReceiveMetadata(received, next) {
          metadata = received;
          if (looksAtMessage) next(received);
          else void authorize(undefined, () => next(received));
        },
        onReceiveMessage(message: unknown, next) {
          if (looksAtMessage) void authorize(message, () => next(message));
          else next(message);
        },
      });
    },
    sendMetadata(answer, next) {
      for (const [name, value] of Object.entries(answerHeaders)) answer.set(name, value);
      next(answer);
    },
  });
}

function refuse(call: ServerInterceptingCallInterface, refusal: Refusal): void {
  const { code, message, metadata, info } = failureOf(refusal, codes);
  const trailer = new Metadata();
  for (const [name, value] of Object.entries(metadata)) trailer.set(name, value);
  if (info !== undefined) {
    const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, info))];
    const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message, details }));
    trailer.set("grpc-status-details-bin", Buffer.from(bytes));
  }
  call.sendStatus({ code, details: message, metadata: trailer });
}

function requestOf(call: ServerInterceptingCallInterface, metadata: Metadata): GuardedRequest {
  const valuesOf = (name: string) => metadata.get(name).filter((value) => typeof value === "string");
  return {
    authorization: valuesOf("authorization"),
    header: (name) => (valuesOf(name).length === 0 ? undefined : valuesOf(name).join(", ")),
    remoteAddress: addressOf(call.getPeer()),
  };
}

/** The address in `10.0.0.1:50051`, or `::1:50051`, as @grpc/grpc-js writes it. */
function addressOf(peer: string): string | undefined {
  const end = peer.lastIndexOf(":");
  return end === -1 ? undefined : peer.slice(0, end);
}
