import { getOption, type JsonObject } from "@bufbuild/protobuf";
import { policy } from "#gen/patchbay/options/v1/options_pb.js";
import type { Binding } from "./binding.ts";
import { failureStatuses, type StatusesOfReasons } from "./failures.ts";

/** The headers of the answer to success. Calls that are charged to a key say what is left to it. */
export function successHeaders({ method, hasTag }: Binding): JsonObject {
  const { access, unmeteredBecause } = getOption(method, policy);
  const isMetered = access.case !== "public" && unmeteredBecause === "";
  const ofBudget = isMetered ? ["RateLimit", "RateLimit-Policy"] : [];
  return references("headers", ["x-request-id", ...ofBudget, ...(hasTag ? ["ETag"] : [])]);
}

/** The answers to failures of a call, by status. */
export function failureAnswers(binding: Binding, statuses: StatusesOfReasons): JsonObject {
  const answers = failureStatuses(binding, statuses).map((status): [string, JsonObject] => {
    const failure = failures[status];
    if (failure === undefined) throw new Error(`status ${status} has no answer; describe it in answers.ts`);
    return [String(status), reference("responses", failure.name)];
  });
  return { ...Object.fromEntries(answers), default: reference("responses", "Failure") };
}

/** What answers refer to. */
export function answerComponents(statuses: StatusesOfReasons) {
  const reasonsOf = (status: string) =>
    [...statuses.keys()].filter((reason) => statuses.get(reason)?.includes(Number(status)));
  const responses = Object.entries(failures).map(([status, failure]): [string, JsonObject] => [
    failure.name,
    answer(failure, reasonsOf(status)),
  ]);
  const any = { name: "Failure", description: "The call failed." };
  return {
    headers,
    responses: { ...Object.fromEntries(responses), Failure: answer(any, [...statuses.keys()]) },
    schemas: { Failure: failureSchema },
  };
}

interface Failure {
  readonly name: string;
  readonly description: string;
  readonly headers?: readonly string[];
}

const failures: Readonly<Record<number, Failure>> = {
  400: { name: "BadRequest", description: "The request breaks a rule; the text names the field." },
  401: {
    name: "Unauthorized",
    description: "The key is missing, malformed, unknown, revoked or expired.",
    headers: ["WWW-Authenticate"],
  },
  403: { name: "Forbidden", description: "The key may not do this." },
  404: { name: "NotFound", description: "The caller's organisation has no such record." },
  409: { name: "Conflict", description: "The record as it is, or an earlier request, forbids it." },
  413: { name: "ContentTooLarge", description: "The body is larger than the operation takes." },
  415: { name: "UnsupportedMediaType", description: "The body is not JSON, or it is compressed." },
  422: { name: "UnprocessableContent", description: "The key is bound to no user who answers for the call." },
  429: {
    name: "TooManyRequests",
    description: "The key has spent its rate limit, or its address failed to authenticate too often.",
    headers: ["Retry-After", "RateLimit", "RateLimit-Policy"],
  },
  500: { name: "InternalServerError", description: "A fault of the service, which its log explains." },
  502: { name: "BadGateway", description: "The connected service gave no answer that can be passed on." },
  503: {
    name: "ServiceUnavailable",
    description: "The service cannot answer now.",
    headers: ["Retry-After"],
  },
  504: { name: "GatewayTimeout", description: "The call took too long; it may have taken effect." },
};

function answer({ description, headers = [] }: Failure, reasons: readonly string[]): JsonObject {
  return {
    description,
    headers: {
      ...references("headers", ["x-request-id", ...headers]),
      "x-error-reason": {
        description: "Why, in a form that programs may rely on. Reasons are added in later versions.",
        required: true,
        schema:
          reasons.length === 0 ? { type: "string" } : { anyOf: [{ enum: [...reasons] }, { type: "string" }] },
      },
    },
    content: { "application/json": { schema: reference("schemas", "Failure") } },
  };
}

const failureSchema: JsonObject = {
  type: "object",
  description: "Says why a call failed.",
  required: ["error"],
  properties: { error: { type: "string", description: "Why, in words for people." } },
};

const headers: JsonObject = {
  "x-request-id": {
    description:
      "Names the call in the service's log and audit events: as the caller named it, or else a new id.",
    required: true,
    schema: { type: "string" },
  },
  "WWW-Authenticate": {
    description: "How to authenticate.",
    required: true,
    schema: { type: "string", examples: ["Bearer"] },
  },
  "Retry-After": {
    description: "How many seconds to wait before another attempt.",
    schema: { type: "integer", minimum: 1 },
  },
  ETag: {
    description: "Names what is answered: to be sent back as `If-None-Match`.",
    required: true,
    schema: { type: "string", examples: ['W/"c0ffee"'] },
  },
  RateLimit: {
    description:
      "How many calls the key has left (`r`), and in how many seconds it has all of them again (`t`).",
    schema: { type: "string", examples: ['"default";r=598;t=1'] },
  },
  "RateLimit-Policy": {
    description: "How many calls the key may make (`q`) in how many seconds (`w`).",
    schema: { type: "string", examples: ['"default";q=600;w=60'] },
  },
};

function references(kind: string, names: readonly string[]): JsonObject {
  return Object.fromEntries(names.map((name) => [name, reference(kind, name)]));
}

function reference(kind: string, name: string): JsonObject {
  return { $ref: `#/components/${kind}/${name}` };
}
