import type { HandlerContext } from "@connectrpc/connect";
import type { Authenticate } from "#src/verification/authenticate.ts";
import { ApiKeyNotBoundToUser, InvalidBearer } from "#src/verification/errors.ts";
import { MissingScope } from "#src/api-keys/errors.ts";
import type { Limits } from "#src/verification/limits.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { secretOfBearer } from "#src/api-keys/secret-format.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { rateLimitHeaders } from "#src/ratelimit/headers.ts";
import { callOf, type Call, type Caller, type Environment } from "#src/platform/caller.ts";
import { refuseCredentialsInUrl } from "./credentials-in-url.ts";
import type { ReportFailure } from "./report-failure.ts";
import { entranceOf, type Entrance, type MethodPolicy } from "./policy.ts";
import type { PublicCalls } from "./public-calls.ts";

/**
 * Decides from the headers whether a call may go on, before its body is read. Throws what the caller is
 * answered; whatever it does not know, it refuses.
 */
export type Gate = (asked: Admission) => Promise<void>;

/** What the gate looks at, and where it says what is left of a budget. */
export interface Admission extends Pick<HandlerContext, "values" | "signal"> {
  readonly entrance: Entrance;
  /** The URL, or its path and query. */
  readonly target: string;
  readonly authorization: string | undefined;
  /** Puts a header into the answer. */
  answerWith(name: string, value: string): void;
}

/** A call that Connect serves, as the gate sees it. */
export function admissionOf(context: HandlerContext): Admission {
  return {
    entrance: entranceOf(context.method),
    values: context.values,
    signal: context.signal,
    target: context.url,
    authorization: context.requestHeader.get("authorization") ?? undefined,
    answerWith: (name, value) => context.responseHeader.set(name, value),
  };
}

/** Where a deletion that declares `four_eyes_deletion` needs a key that is bound to a user. */
export type FourEyesDeletion = "live" | "always" | "never";

export function asksForUser(setting: FourEyesDeletion, environment: Environment): boolean {
  return setting === "always" || (setting === "live" && environment === "live");
}

/** The order is the requirement's: URL, key with its environment, rate limit, scope, user. */
export function createGate(parts: {
  authenticate: Authenticate;
  limits: Limits;
  publicCalls: PublicCalls;
  environment: Environment;
  fourEyesDeletion: FourEyesDeletion;
  report: ReportFailure;
}): Gate {
  const { authenticate, limits, publicCalls, report } = parts;
  const deletionNeedsUser = asksForUser(parts.fourEyesDeletion, parts.environment);

  async function decide(asked: Admission, call: Call) {
    const { policy, isStream, hasForeignQuery } = asked.entrance;
    refuseCredentialsInUrl(asked.target, hasForeignQuery ? "foreign" : "ours");
    call.auditActions = policy.auditAction;
    const { remoteAddress: address, requestId } = call;
    if (policy.access.case === "public") {
      if (policy.unmeteredBecause === "") await publicCalls.spend(address);
      if (isStream) publicCalls.openStream(address, asked.signal);
      return;
    }
    const { caller, recheck } = await limits.limitFailures(clientNameOf(address), (beforeGuess) =>
      authenticate({ secret: bearerOf(asked.authorization, call), address, requestId, beforeGuess }),
    );
    call.caller = caller;
    if (policy.unmeteredBecause === "") await spendCall(call.caller, asked);
    requirePermission(call.caller, policy);
    call.recheck = async () => {
      call.caller = await recheck();
      requirePermission(call.caller, policy);
    };
  }

  function requirePermission(caller: Caller, policy: MethodPolicy): void {
    requireScope(caller, policy);
    if (policy.fourEyes || (policy.fourEyesDeletion && deletionNeedsUser)) requireUser(caller);
  }

  /** Takes one call from the budget of the caller's key, and says in the answer's headers what is left. */
  async function spendCall(caller: Caller, asked: Admission) {
    const { orgId, via, rateLimitPerMinute } = caller;
    const { rate, budget } = await limits.spend({ orgId, id: via.id, rateLimitPerMinute });
    for (const [name, value] of Object.entries(rateLimitHeaders(rate, budget))) asked.answerWith(name, value);
    if (!budget.allowed) throw new RateLimited(budget);
  }

  return async (asked) => {
    const call = callOf(asked);
    call.rpc = asked.entrance.name;
    try {
      await decide(asked, call);
    } catch (thrown) {
      throw report(thrown, call);
    }
    call.passedGate = true;
  };
}

/** The secret that the one Authorization header carries. */
function bearerOf(value: string | undefined, call: Call): string {
  // With two headers, which one counts would depend on the reader: a proxy, Node or us.
  const secret = value === undefined || call.authorizationLines > 1 ? undefined : secretOfBearer(value);
  if (secret === undefined) throw new InvalidBearer("malformed");
  return secret;
}

function requireScope(caller: Caller, { access }: Pick<MethodPolicy, "access">): void {
  if (access.case === "authenticated") return;
  if (access.case !== "scope") throw new InvalidBearer("malformed");
  if (!grants(caller.scopes, access.value)) throw new MissingScope(access.value);
}

function requireUser(caller: Caller): void {
  if (caller.userId === undefined) throw new ApiKeyNotBoundToUser();
}
