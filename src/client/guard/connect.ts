import type { DescMethod } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextKey,
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from "@connectrpc/connect";
import type { ConnectNodeAdapterOptions } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Decide } from "./decide.ts";
import { guardedRequestOf } from "./http.ts";
import type { GuardedRequest } from "./request.ts";
import { type RequirementOf, validateRequirement } from "./requirement.ts";
import {
  type CodesByStatus,
  failureOf,
  type MethodRequirement,
  type MethodRequirements,
  requirementOf,
} from "./rpc.ts";

/** The principal that makes a call, in the context values of its handler: `context.values.get(principalKey)`. */
export const principalKey: ContextKey<Principal | undefined> = createContextKey<Principal | undefined>(
  undefined,
  { description: "the principal that makes the call, as a guard of Patchbay verified it" },
);

const requestKey = createContextKey<GuardedRequest | undefined>(undefined);

/** Puts a guard before all methods of a Connect server. */
export interface ConnectGuard {
  /**
   * The options of `connectNodeAdapter`, with a guard before every method of `routes`. Throws for a method that has
   * no requirement.
   */
  connect(
    requirements: MethodRequirements<DescMethod>,
    options: ConnectNodeAdapterOptions,
  ): ConnectNodeAdapterOptions;
}

export function createConnectGuard(decide: Decide): ConnectGuard {
  return {
    connect(requirements, options) {
      const guard = guardOf(decide, requirements);
      return {
        ...options,
        ...guard.around(options),
        routes: (router) => options.routes(guarded(router, guard, options)),
        contextValues(request) {
          const values = options.contextValues?.(request) ?? createContextValues();
          // Shared by requests, they would give one the key and the principal of another.
          if (values.get(requestKey) !== undefined) {
            throw new Error("contextValues must return new ones for each request");
          }
          return values.set(requestKey, guardedRequestOf(request));
        },
      };
    },
  };
}

const codes: CodesByStatus<Code> = {
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  422: Code.FailedPrecondition,
  429: Code.ResourceExhausted,
  503: Code.Unavailable,
};

type Layers = Pick<ConnectRouterOptions, "interceptors" | "requestGate">;

/** The router, for services that must all have requirements, and whose own options cannot replace the guard. */
function guarded(router: ConnectRouter, guard: MethodsGuard, common: Layers): ConnectRouter {
  const around = (own: Layers | undefined) => own && { ...own, ...guard.around({ ...common, ...own }) };
  const wrapped: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, own) {
      guard.requireRequirements(service.methods);
      router.service(service, implementation, around(own));
      return wrapped;
    },
    rpc(method, implementation, own) {
      guard.requireRequirements([method]);
      router.rpc(method, implementation, around(own));
      return wrapped;
    },
  };
  return wrapped;
}

interface MethodsGuard {
  requireRequirements(methods: readonly DescMethod[]): void;
  /** The layers with the guard as the outermost. */
  around(layers: Layers): Required<Layers>;
}

function guardOf(decide: Decide, requirements: MethodRequirements<DescMethod>): MethodsGuard {
  const requirementFor = (method: DescMethod) => requirementOf(requirements, method, nameOf(method));

  /** Admits the call, or throws what its caller is answered. */
  async function authorize<Input>(
    call: { readonly values: ContextValues; readonly header: Headers },
    requirement: RequirementOf<Input>,
    input: Input,
  ): Promise<Readonly<Record<string, string>>> {
    const verdict = await decide(requestIn(call), requirement, input);
    if (verdict.principal === undefined) {
      const { code, message, metadata, info } = failureOf(verdict, codes);
      throw new ConnectError(message, code, metadata, info && [{ desc: ErrorInfoSchema, value: info }]);
    }
    call.values.set(principalKey, verdict.principal);
    return verdict.headers;
  }

  // Before the message is read: a caller without a key must not make the server read any.
  async function gate(context: HandlerContext): Promise<void> {
    const requirement = requirementFor(context.method);
    if (requirement === undefined) throw new Error(`${nameOf(context.method)} has no requirement`);
    if (requirement === "public" || requirement.distinctFromUserIds !== undefined) return;
    const call = { values: context.values, header: context.requestHeader };
    setAll(context.responseHeader, await authorize(call, requirement, undefined as never));
  }

  const interceptor: Interceptor = (next) => async (request) => {
    const requirement = requirementFor(request.method);
    if (requirement === undefined) throw new Error(`${nameOf(request.method)} has no requirement`);
    const { contextValues: values, header } = request;
    if (requirement === "public" || values.get(principalKey) !== undefined) return next(request);
    const headers = await authorize({ values, header }, requirement, request.message as never);
    const response = await next(request);
    setAll(response.header, headers);
    return response;
  };

  return {
    requireRequirements(methods) {
      const faults = methods.flatMap((method) => faultOf(method, requirementFor(method)) ?? []);
      if (faults.length > 0) throw new Error(faults.join("\n"));
    },
    around: ({ interceptors = [], requestGate }) => ({
      interceptors: [interceptor, ...interceptors],
      async requestGate(context) {
        await gate(context);
        await requestGate?.(context);
      },
    }),
  };
}

function faultOf(method: DescMethod, requirement: MethodRequirement | undefined): string | undefined {
  if (requirement === undefined) {
    return `${nameOf(method)} has no requirement; give it {} to admit every valid key, or "public" to admit every caller`;
  }
  if (requirement === "public") return undefined;
  validateRequirement(requirement, nameOf(method));
  if (requirement.distinctFromUserIds === undefined) return undefined;
  if (method.methodKind === "unary") return undefined;
  return `${nameOf(method)} is not unary, so distinctFromUserIds has no message to look at`;
}

function nameOf({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`;
}

/** The request as the adapter saw it; for a call that did not come through it, what its headers say. */
function requestIn({ values, header }: { values: ContextValues; header: Headers }): GuardedRequest {
  const authorization = header.get("authorization");
  return (
    values.get(requestKey) ?? {
      authorization: authorization === null ? [] : [authorization],
      header: (name) => header.get(name) ?? undefined,
      remoteAddress: undefined,
    }
  );
}

function setAll(target: Headers, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) target.set(name, value);
}
