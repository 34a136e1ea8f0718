import {
  type GuardedRequest,
  isListOfTexts,
  presentedBy,
  requireSense,
  type RequirementOf,
} from "./guarded-request.ts";
import type { TellProblem } from "./problems.ts";
import { unavailable, type Verdict } from "./verdict.ts";
import type { Question } from "./verifier.ts";

/**
 * Decides about a request, of which `seen` is what every protocol has, and `request` what its requirement looks at.
 * Never throws.
 */
export type Admit = <Request>(
  seen: GuardedRequest,
  requirement: RequirementOf<Request>,
  request: Request,
) => Promise<Verdict>;

/** What a guard is told about all its requests. */
export interface RequestOptions {
  /** The environment that the endpoints belong to. That of Patchbay's deployment if absent. */
  environment?: "sandbox" | "live";
  /** The service that makes a request. Without it, no service principal is let in. */
  callerServiceSlug?: (request: GuardedRequest) => string | undefined;
  /**
   * The client's own address. Without it, no key with a list of addresses is let in. Of `X-Forwarded-For`, only what
   * your own proxies added is true; what comes before it, the client may have made up.
   */
  sourceIp?: (request: GuardedRequest) => string | undefined;
}

export function createAdmit(parts: {
  verify: (question: Question) => Promise<Verdict>;
  tell: TellProblem;
  options: RequestOptions;
}): Admit {
  const { verify, tell, options } = parts;

  async function questionAbout<Request>(
    seen: GuardedRequest,
    requirement: RequirementOf<Request>,
    request: Request,
  ): Promise<Question> {
    requireSense(requirement, "requirement");
    const key = presentedBy(seen);
    // Whatever it was presented for, the answer is the same, and is remembered as one.
    if (key === "") return { key };
    const { scopes = [], endpoint, fourEyes = false, distinctFromUserIds } = requirement;
    const callerServiceSlug = options.callerServiceSlug?.(seen);
    const sourceIp = options.sourceIp?.(seen);
    const userIds = distinctFromUserIds === undefined ? [] : await distinctFromUserIds(request);
    // Of anything else, such as nothing, it would seem that nobody has acted yet.
    if (!isListOfTexts(userIds)) throw new TypeError("distinctFromUserIds must answer a list of user ids");
    return {
      key,
      scopes: [...scopes],
      // Nobody may have acted yet; somebody must answer for it all the same.
      fourEyes: fourEyes || distinctFromUserIds !== undefined,
      distinctFromUserIds: [...new Set(userIds)],
      ...(endpoint && { endpoint }),
      ...(callerServiceSlug && { callerServiceSlug }),
      ...(sourceIp && { sourceIp }),
    };
  }

  return async (seen, requirement, request) => {
    let question: Question;
    try {
      question = await questionAbout(seen, requirement, request);
    } catch (error) {
      tell("what was given to the guard failed", error);
      return unavailable;
    }
    return verify(question);
  };
}
