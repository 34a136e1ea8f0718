import { type DescEnum, type DescMethod, getOption } from "@bufbuild/protobuf";
import { policy } from "#gen/patchbay/options/v1/options_pb.js";
import type { ReasonName } from "#src/platform/errors.ts";
import { takesIdempotencyKey } from "#src/pipeline/policy.ts";
import type { Binding } from "./binding.ts";
import { commentOf } from "#src/platform/comments.ts";

/** The HTTP statuses of each reason, as its comment in the contract has them at its end. */
export type StatusesOfReasons = ReadonlyMap<string, readonly number[]>;

/** Reads them; empty if the enum was compiled without comments. */
export function statusesOf(reasons: DescEnum): StatusesOfReasons {
  return new Map(
    reasons.values.slice(1).flatMap((value) => {
      const comment = commentOf(value);
      if (comment === "") return [];
      const statuses = (/\(([^()]*)\)\.$/.exec(comment)?.[1]?.match(/\b[45]\d\d\b/g) ?? []).map(Number);
      if (statuses.length === 0) throw new Error(`${value.name}: its comment does not end in "(<status>)."`);
      return [[value.name.replace("REASON_", ""), statuses] as const];
    }),
  );
}

const ofEveryCall: ReasonName[] = [
  "CREDENTIALS_IN_URL",
  "INVALID_REQUEST",
  "INTERNAL",
  "DATABASE_UNAVAILABLE",
  "DEADLINE_EXCEEDED",
];
const ofKeys: ReasonName[] = [
  "INVALID_BEARER",
  "KEY_EXPIRED",
  "WRONG_ENVIRONMENT",
  "ADDRESS_NOT_ALLOWED",
  "MISSING_SCOPE",
  "RATE_LIMITED",
];
const ofBodies: ReasonName[] = ["UNSUPPORTED_CONTENT_TYPE", "MESSAGE_TOO_LARGE"];
const ofIdempotencyKeys: ReasonName[] = ["ALREADY_CREATED", "IDEMPOTENCY_KEY_REUSED"];
const ofFourEyes: ReasonName[] = ["API_KEY_NOT_BOUND_TO_USER"];

/** The statuses with which a call can fail: by the way in that all calls share, and by what its comment names. */
export function failureStatuses(binding: Binding, statuses: StatusesOfReasons): number[] {
  const { access, fourEyes, fourEyesDeletion } = getOption(binding.method, policy);
  const reasons = [
    ...ofEveryCall,
    ...(access.case === "public" ? [] : ofKeys),
    ...(binding.body === undefined ? [] : ofBodies),
    ...(takesIdempotencyKey(binding.method) ? ofIdempotencyKeys : []),
    ...(fourEyes || fourEyesDeletion ? ofFourEyes : []),
    ...reasonsNamedBy(binding.method),
  ];
  return [...new Set(reasons.flatMap((reason) => statuses.get(reason) ?? []))].sort((a, b) => a - b);
}

/** Also those that it has in common with another method, as in "Errors: as CreateApiKey". */
function reasonsNamedBy(method: DescMethod): string[] {
  const comment = commentOf(method);
  const named = comment.match(/\b[A-Z][A-Z_]+\b/g) ?? [];
  const others = [...comment.matchAll(/\bas\s+(\w+)/g)].flatMap(
    ([, name]) => method.parent.methods.find((other) => other !== method && other.name === name) ?? [],
  );
  return [...named, ...others.flatMap(reasonsNamedBy)];
}
