import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { patchbay } from "#src/client/reason.ts";
import type { RequirementOf } from "./requirement.ts";
import { messageOf, type Refusal } from "./verdict.ts";

/**
 * What a method asks of its callers, or that it is open to every caller. `distinctFromUserIds` is given the request
 * message, so it is for methods that have exactly one, and there the message is read before the key is looked at.
 */
export type MethodRequirement = RequirementOf<never> | "public";

/**
 * The requirement of every method, by names such as `acme.v1.RuleService/CreateRule`, or as a function of whatever
 * describes a method. A method without one is refused to every caller.
 */
export type MethodRequirements<Method> =
  Readonly<Record<string, MethodRequirement>> | ((method: Method) => MethodRequirement | undefined);

export function requirementOf<Method>(
  requirements: MethodRequirements<Method>,
  method: Method,
  name: string,
): MethodRequirement | undefined {
  if (typeof requirements === "function") return requirements(method);
  return Object.hasOwn(requirements, name) ? requirements[name] : undefined;
}

/** The codes of a protocol that stand for the statuses of refusals. */
export type CodesByStatus<Code> = Readonly<Record<401 | 403 | 422 | 429 | 503, Code>>;

/** How a refusal looks in a protocol that has codes and metadata. */
export interface RpcFailure<Code> {
  readonly code: Code;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** What Patchbay's clients read the reason from. A refusal of the guard's own has none. */
  readonly info: MessageInitShape<typeof ErrorInfoSchema> | undefined;
}

/** The refusal as a failure; one with a status that is not known here is a refusal all the same. */
export function failureOf<Code>(refusal: Refusal, codes: CodesByStatus<Code>): RpcFailure<Code> {
  const { "content-type": _, ...metadata } = refusal.headers;
  const known: Readonly<Record<number, Code>> = codes;
  const reason = refusal.headers["x-error-reason"];
  return {
    code: known[refusal.status] ?? codes[403],
    message: messageOf(refusal),
    metadata,
    info: reason === undefined ? undefined : { reason, domain: patchbay },
  };
}
