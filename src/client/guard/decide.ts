import type { ReportProblem } from "./problems.ts";
import { type GuardedRequest, presentedKey } from "./request.ts";
import { isStringList, type RequirementOf, validateRequirement } from "./requirement.ts";
import { unavailable, type Verdict } from "./verdict.ts";
import type { Question } from "./verifier.ts";

/**
 * Decides about a request. `input` is what the requirement's `distinctFromUserIds` is given. Never throws.
 */
export type Decide = <Input>(
  request: GuardedRequest,
  requirement: RequirementOf<Input>,
  input: Input,
) => Promise<Verdict>;

/** What a guard knows about all its requests. */
export interface RequestOptions {
  /** The environment that the endpoints belong to. That of Patchbay's deployment if absent. */
  environment?: "sandbox" | "live";
  /** The service that makes a request. Without it, service principals are refused. */
  callerServiceSlug?: (request: GuardedRequest) => string | undefined;
  /**
   * The client's own address. Without it, keys with a list of addresses are refused. Of `X-Forwarded-For`, only what
   * your own proxies added is true; the client may have made up what comes before it.
   */
  sourceIp?: (request: GuardedRequest) => string | undefined;
}

export function createDecide(parts: {
  verify: (question: Question) => Promise<Verdict>;
  report: ReportProblem;
  options: RequestOptions;
}): Decide {
  const { verify, report, options } = parts;

  async function questionAbout<Input>(
    request: GuardedRequest,
    requirement: RequirementOf<Input>,
    input: Input,
  ): Promise<Question> {
    validateRequirement(requirement, "requirement");
    const key = presentedKey(request);
    // Without a key the answer is the same for every requirement, and is cached as one.
    if (key === "") return { key };
    const { scopes = [], endpoint, fourEyes = false, distinctFromUserIds } = requirement;
    const callerServiceSlug = options.callerServiceSlug?.(request);
    const sourceIp = options.sourceIp?.(request);
    const userIds = distinctFromUserIds === undefined ? [] : await distinctFromUserIds(input);
    // Anything else, such as undefined, would mean that no user has acted yet.
    if (!isStringList(userIds)) throw new TypeError("distinctFromUserIds must return a list of user ids");
    return {
      key,
      scopes: [...scopes],
      // Also where no user has acted yet, a user must answer for the request.
      fourEyes: fourEyes || distinctFromUserIds !== undefined,
      distinctFromUserIds: [...new Set(userIds)],
      ...(endpoint && { endpoint }),
      ...(callerServiceSlug && { callerServiceSlug }),
      ...(sourceIp && { sourceIp }),
    };
  }

  return async (request, requirement, input) => {
    let question: Question;
    try {
      question = await questionAbout(request, requirement, input);
    } catch (error) {
      report("a requirement or an option of the guard failed", error);
      return unavailable;
    }
    return verify(question);
  };
}
