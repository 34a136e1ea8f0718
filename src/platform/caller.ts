import { createContextKey, type HandlerContext } from "@connectrpc/connect";

/** Who makes a call: the key that was presented, and the user it is bound to. */
export interface Caller {
  readonly orgId: string;
  readonly apiKeyId: string;
  readonly name: string;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  /** The user who answers for the key; undefined for an unbound key. */
  readonly userId: string | undefined;
  readonly expiresAt: Date | undefined;
  /** When the secret that was presented is refused, before the key is; undefined for the newest. */
  readonly secretValidUntil?: Date | undefined;
  /** How many calls a minute the key may make; undefined for the deployment's limit. */
  readonly rateLimitPerMinute: number | undefined;
}

/** What a call works on: the caller's organisation, in the environment of this deployment. */
export interface Scope {
  readonly orgId: string;
  readonly environment: Environment;
}

/** One deployment serves one of them. */
export type Environment = "sandbox" | "live";

/** What is known of one call while it runs. Made when its headers arrive, and completed on its way in. */
export interface Call {
  /** Echoed as `x-request-id`, and in the log and the audit of everything the call does. */
  readonly requestId: string;
  /** `authorization` header lines on the wire; Node's `headers` keeps only the first. */
  readonly authorizationLines: number;
  /** Where the connection came from: from a proxy, if there is one in front. */
  readonly peerAddress?: string | undefined;
  /** The client's; undefined if it went away at once, or if the proxies in front do not say it. */
  readonly remoteAddress?: string | undefined;
  /** `<package>.<Service>/<Method>`, once the call is routed. */
  rpc?: string;
  /** Set by the gate once the caller is known. */
  caller?: Caller;
  /** True once the whole gate let the call pass. */
  passedGate?: boolean;
  /** Set with the caller: fails if its key is no longer good, or no longer may make the call. Charges nothing. */
  recheck?: () => Promise<void>;
  /** The audit actions that the call's method declares; it may append no others. */
  auditActions?: readonly string[];
  /** True once the call appended an audit event, or found that there was nothing to change. */
  settled?: boolean;
}

/** Where the call stands in the context values of its handler. */
export const callKey = createContextKey<Call | undefined>(undefined);

/** The call that a handler serves. */
export function callOf(context: Pick<HandlerContext, "values">): Call {
  const call = context.values.get(callKey);
  if (call === undefined) throw new Error("the request has no call: it did not come in through the port");
  return call;
}

/** The caller of a handler that is not public. */
export function callerOf(context: Pick<HandlerContext, "values">): Caller {
  const { caller, passedGate } = callOf(context);
  if (caller === undefined || passedGate !== true) throw new Error("the request did not pass the gate");
  return caller;
}

/** What a handler that is not public may work on. A caller's key is always of this deployment's environment. */
export function scopeOf(context: Pick<HandlerContext, "values">): Scope {
  const { orgId, environment } = callerOf(context);
  return { orgId, environment };
}
