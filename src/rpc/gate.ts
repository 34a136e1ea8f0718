import type { HandlerContext } from "@connectrpc/connect";
import type { Authenticate } from "#src/api-keys/authenticate.ts";
import { ApiKeyNotBoundToUser, InvalidBearer, MissingScope } from "#src/api-keys/errors.ts";
import { grants } from "#src/api-keys/scopes.ts";
import { callOf, type Call, type Caller } from "#src/platform/caller.ts";
import { refuseCredentialsInUrl } from "./credentials-in-url.ts";
import type { TellFailure } from "./failures.ts";
import type { Limits } from "./limits.ts";
import { policyOf, type MethodPolicy } from "./policy.ts";

/**
 * Decides from the headers whether a call may go on, before its body is read. Throws what the caller is
 * answered; whatever it does not know, it refuses.
 */
export type Gate = (context: HandlerContext) => Promise<void>;

/** The order is the requirement's: URL, key with its environment, rate limit, scope, user. */
export function createGate(parts: {
  authenticate: Authenticate;
  limits: Limits;
  /** Whether this deployment asks for a user where a deletion declares `four_eyes_deletion`. */
  fourEyesDeletion: boolean;
  tell: TellFailure;
}): Gate {
  const { authenticate, limits, fourEyesDeletion, tell } = parts;

  async function decide(context: HandlerContext, call: Call) {
    refuseCredentialsInUrl(context.url);
    const policy = policyOf(context.method);
    call.auditActions = policy.auditAction;
    if (policy.access.case === "public") return;
    call.caller = await limits.limitFailures(call.remoteAddress, async () =>
      authenticate(bearerOf(context.requestHeader, call)),
    );
    await limits.spendCall(call.caller, context.responseHeader);
    requireScope(call.caller, policy);
    if (policy.fourEyes || (policy.fourEyesDeletion && fourEyesDeletion)) requireUser(call.caller);
  }

  return async (context) => {
    const call = callOf(context);
    call.rpc = `${context.service.typeName}/${context.method.name}`;
    try {
      await decide(context, call);
    } catch (thrown) {
      throw tell(thrown, call);
    }
    call.passedGate = true;
  };
}

const maxHeaderLength = 512;
const bearer = /^bearer +(\S+)$/i;

/** The secret that the one Authorization header carries. The scheme's case does not matter (RFC 9110, 11.1). */
function bearerOf(header: Headers, call: Call): string {
  const value = header.get("authorization");
  // With two headers, which one counts would depend on who reads them: a proxy, Node or us.
  if (value === null || call.authorizationLines > 1 || value.length > maxHeaderLength)
    throw new InvalidBearer();
  const secret = bearer.exec(value.trim())?.[1];
  if (secret === undefined) throw new InvalidBearer();
  return secret;
}

function requireScope(caller: Caller, { access }: Pick<MethodPolicy, "access">): void {
  if (access.case === "authenticated") return;
  if (access.case !== "scope") throw new InvalidBearer();
  if (!grants(caller.scopes, access.value)) throw new MissingScope(access.value);
}

function requireUser(caller: Caller): void {
  if (caller.userId === undefined) throw new ApiKeyNotBoundToUser();
}
