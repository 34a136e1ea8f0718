import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Decide } from "./decide.ts";
import type { GuardedRequest } from "./request.ts";
import { type RequirementOf, validateRequirement } from "./requirement.ts";

/** A request of node:http, of node:http2's compatible form, and so of Express or Connect. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** Its response. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** Puts guards around handlers. */
export interface HttpGuard {
  /** The handler, for requests that are admitted; the others are answered as Patchbay says. */
  handler<Request extends NodeRequest = IncomingMessage, Response extends NodeResponse = ServerResponse>(
    requirement: RequirementOf<Request>,
    handle: (request: Request, response: Response, principal: Principal) => unknown,
  ): (request: Request, response: Response) => void;
  /** The same for Express and its like: in what follows, `principalOf(request)` is the principal. */
  middleware<Request extends NodeRequest = IncomingMessage>(
    requirement: RequirementOf<Request>,
  ): (request: Request, response: NodeResponse, next: () => void) => void;
}

const principals = new WeakMap<NodeRequest, Principal>();

/** The principal that makes a request. Throws if no guard admitted it: there is no one to act for. */
export function principalOf(request: NodeRequest): Principal {
  const principal = principals.get(request);
  if (principal === undefined) throw new Error("no guard admitted this request, so it has no principal");
  return principal;
}

export function createHttpGuard(decide: Decide): HttpGuard {
  /** The principal of a request that may go on; undefined for one that is answered here. */
  async function authorize<Request extends NodeRequest>(
    requirement: RequirementOf<Request>,
    request: Request,
    response: NodeResponse,
  ): Promise<Principal | undefined> {
    const verdict = await decide(guardedRequestOf(request), requirement, request);
    // The server answered meanwhile, for example by a timeout of its own.
    if (response.headersSent) return undefined;
    for (const [name, value] of Object.entries(verdict.headers)) response.setHeader(name, value);
    if (verdict.principal === undefined) {
      response.statusCode = verdict.status;
      response.end(verdict.body);
      return undefined;
    }
    principals.set(request, verdict.principal);
    return verdict.principal;
  }

  return {
    // Exceptions of the handler or of the next step stay theirs: here they are as unhandled as without a guard.
    handler(requirement, handle) {
      validateRequirement(requirement, "requirement");
      return (request, response) => {
        void authorize(requirement, request, response).then(
          (principal) => principal && handle(request, response, principal),
        );
      };
    },
    middleware(requirement) {
      validateRequirement(requirement, "requirement");
      return (request, response, next) => {
        void authorize(requirement, request, response).then((principal) => principal && next());
      };
    },
  };
}

/** What a guard sees of a request of Node's. */
export function guardedRequestOf(request: NodeRequest): GuardedRequest {
  const { rawHeaders, headers, socket } = request;
  return {
    // `headers` has only the first of several.
    authorization: rawHeaders.filter(
      (_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === "authorization",
    ),
    header(name) {
      const value = headers[name.toLowerCase()];
      return typeof value === "object" ? value.join(", ") : value;
    },
    remoteAddress: socket.remoteAddress,
  };
}
