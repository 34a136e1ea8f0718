import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Holding } from "./byte-budget.ts";
import type { ConnectionRight } from "./connection-right.ts";
import type { ReasonName } from "./errors.ts";

/** The records that a call may see: its organisation's, in the environment of this deployment. */
export interface Viewer {
  readonly orgId: string;
  readonly environment: Environment;
  /** The user on whose behalf the call is made; undefined if no user answers for it. */
  readonly userId: string | undefined;
}

/** What is known of a caller: its organisation and user, its key, and what the key allows. */
export interface Caller extends Viewer {
  readonly via: Via;
  /** The name of the means, for people. */
  readonly name: string;
  readonly scopes: readonly string[];
  /** The connections that its key may use, and how; undefined for all, and empty for none. */
  readonly connections: readonly ConnectionRight[] | undefined;
  readonly expiresAt: Date | undefined;
  /** From when the presented secret is refused, if that is before its key's end; undefined for the newest. */
  readonly secretValidUntil?: Date | undefined;
  /** How many calls a minute the key may make; undefined for the deployment's limit. */
  readonly rateLimitPerMinute: number | undefined;
}

/** The means by which a caller is known. */
export interface Via {
  readonly kind: "api_key";
  readonly id: string;
  /** The user that the key is bound to, active or not: `userId` is an active one. */
  readonly boundUserId: string | undefined;
}

/** One deployment serves one of them. */
export type Environment = "sandbox" | "live";

/** What is known of one call while it runs. Made when its headers arrive, and completed on its way in. */
export interface Call {
  /** Echoed as `x-request-id`, and in the log and the audit of everything the call does. */
  readonly requestId: string;
  /** `authorization` header lines on the wire; Node's `headers` keeps only the first. */
  readonly authorizationLines: number;
  /** The address that the connection came from: a proxy's, if there is one in front. */
  readonly peerAddress?: string | undefined;
  /** The client's address; undefined if it went away at once, or if the proxies in front do not report it. */
  readonly remoteAddress?: string | undefined;
  /** The trace that shows it, if there is one. */
  traceId?: string;
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
  /** What its last audit event is about. */
  target?: string;
  /** Why it failed, as its caller is told; absent if it did not. */
  failure?: ReasonName;
  /** What it holds in memory, of the budget of its organisation. */
  holding?: Holding;
  /** Ends it at once, whatever of its answer its caller has read. */
  cut?: () => void;
  /** Set for an audited call that came with an `Idempotency-Key`. */
  named?: NamedRequest;
}

/** A request that its caller gave a name, to repeat it without a second effect. */
export interface NamedRequest {
  readonly key: string;
  /** Method and message, the same on every protocol. */
  readonly text: string;
  /** What to answer a repetition, `{id}` standing for what the request was about. */
  readonly repeated: string;
}

/** Where the call stands in the context values of its handler. */
export const callKey = createContextKey<Call | undefined>(undefined);

/** The call that a handler serves. */
export function callOf(context: Pick<HandlerContext, "values">): Call {
  const call = context.values.get(callKey);
  if (call === undefined) throw new Error("the request has no call: it did not come in through the port");
  return call;
}

/** The caller of a handler that is not public. Its key is always of this deployment's environment. */
export function callerOf(context: Pick<HandlerContext, "values">): Caller {
  const { caller, passedGate } = callOf(context);
  if (caller === undefined || passedGate !== true) throw new Error("the request did not pass the gate");
  return caller;
}
