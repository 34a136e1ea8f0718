import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Principal } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Admit } from "./admit.ts";
import { type GuardedRequest, requireSense, type RequirementOf } from "./guarded-request.ts";

/** A request of node:http, of node:http2's compatible form, and so of Express or Connect. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** Its response. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** Puts guards around handlers. */
export interface HttpGuard {
  /** The handler, for requests that are let in; the others are answered as Patchbay says. */
  handler<Request extends NodeRequest = IncomingMessage, Response extends NodeResponse = ServerResponse>(
    requirement: RequirementOf<Request>,
    handle: (request: Request, response: Response, principal: Principal) => unknown,
  ): (request: Request, response: Response) => void;
  /** The same for Express and its like: `principalOf(request)` is the principal of what comes after. */
  middleware<Request extends NodeRequest = IncomingMessage>(
    requirement: RequirementOf<Request>,
  ): (request: Request, response: NodeResponse, next: () => void) => void;
}

const principals = new WeakMap<NodeRequest, Principal>();

/** Who makes a request. Throws if no guard let it in: there is nobody to act for. */
export function principalOf(request: NodeRequest): Principal {
  const principal = principals.get(request);
  if (principal === undefined) throw new Error("no guard let this request in, so it has no principal");
  return principal;
}

export function createHttpGuard(admit: Admit): HttpGuard {
  /** The principal of a request that may go on; undefined for one that is answered. */
  async function letIn<Request extends NodeRequest>(
    requirement: RequirementOf<Request>,
    request: Request,
    response: NodeResponse,
  ): Promise<Principal | undefined> {
    const verdict = await admit(seenOf(request), requirement, request);
    // Somebody did not wait for it, such as a timeout of the server's own.
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
    // What the handler or the next step throws is theirs to handle: here it is as unhandled as without a guard.
    handler(requirement, handle) {
      requireSense(requirement, "requirement");
      return (request, response) => {
        void letIn(requirement, request, response).then(
          (principal) => principal && handle(request, response, principal),
        );
      };
    },
    middleware(requirement) {
      requireSense(requirement, "requirement");
      return (request, response, next) => {
        void letIn(requirement, request, response).then((principal) => principal && next());
      };
    },
  };
}

/** What a guard sees of a request of Node's. */
export function seenOf(request: NodeRequest): GuardedRequest {
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
