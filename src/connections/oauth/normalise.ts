/** A token endpoint's answer as it came. */
export interface TokenAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** The same as the standard has it (RFC 6749, 5): an error has a 4xx status, and a token the status 200. */
export interface NormalAnswer {
  readonly status: number;
  /** Undefined for a body that is no JSON object. */
  readonly body: Members | undefined;
}

type Members = Readonly<Record<string, unknown>>;
type Rule = (body: Members) => Members;

/** What may be wrong with the members of an answer, by the name under which an integration admits it. */
const rules: Readonly<Record<string, Rule>> = {
  error_shape_nonstandard: (body) => withoutUndefined({ ...body, error: errorCodeIn(body) }),
  token_type_missing: (body) => ({ token_type: "bearer", ...body }),
  token_type_uncertain: (body) => ({ token_type: "bearer", ...body }),
  token_type_nonstandard: (body) => ("token_type" in body ? { ...body, token_type: "bearer" } : body),
  scope_in_other_field: (body) => withoutUndefined({ scope: body["scopes"] ?? body["permissions"], ...body }),
  scope_array: (body) => ({ ...body, ...joinedScopes(body["scope"]) }),
  scope_array_possible: (body) => ({ ...body, ...joinedScopes(body["scope"]) }),
  scope_null: (body) => without(body, "scope", isNull),
  refresh_token_null: (body) => without(body, "refresh_token", isEmpty),
  expires_in_null: (body) => without(body, "expires_in", isEmpty),
  expires_in_zero_means_never: (body) => without(body, "expires_in", isZero),
  x_refresh_token_expires_in: (body) =>
    withoutUndefined({ refresh_token_expires_in: body["x_refresh_token_expires_in"], ...body }),
};

/** Quirks that are no member's: how the body is written, and which status it has. */
const formEncoded = ["form_encoded_answer", "form_encoded_answer_old_versions"];
const errorInSuccess = "error_in_200";
const created = "status_201";

/** Every quirk that changes how an answer is read. Others tell people something, and change nothing here. */
export const answerQuirks: readonly string[] = [
  ...formEncoded,
  errorInSuccess,
  created,
  ...Object.keys(rules),
];

/**
 * What a service means by its answer. Only what its integration admits is mended: elsewhere the same answer is refused,
 * as nobody knows what it would mean.
 */
export function normalise(
  answer: TokenAnswer,
  quirks: readonly string[],
  tokenPath: Readonly<Record<string, string>> = {},
): NormalAnswer {
  const has = (name: string) => quirks.includes(name);
  const parsed = membersOf(answer, formEncoded.some(has));
  if (parsed === undefined) return { status: answer.status, body: undefined };
  const lifted = lift(parsed, tokenPath);
  // In the order of the table, which is that of dependence: what stands in another field is joined afterwards.
  const mended = Object.entries(rules).reduce(
    (body, [name, rule]) => (has(name) ? rule(body) : body),
    lifted,
  );
  // Who the person is at the service is not asked, so that its proof need not be checked.
  const { id_token: _, ...body } = mended;
  return { status: statusOf(answer.status, body, has), body };
}

function statusOf(status: number, body: Members, has: (name: string) => boolean): number {
  const isError = status < 300 && ("error" in body || body["ok"] === false);
  if (has(errorInSuccess) && isError) return 400;
  return status === 201 && has(created) ? 200 : status;
}

function membersOf({ contentType, body }: TokenAnswer, mayBeForm: boolean): Members | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    if (isMembers(parsed)) return parsed;
  } catch {
    // Then it is a form, or nothing.
  }
  if (!mayBeForm || contentType.includes("html") || !body.includes("=")) return undefined;
  return Object.fromEntries(new URLSearchParams(body));
}

/** Fields that stand deeper in the answer, by JSON pointers (RFC 6901). */
function lift(body: Members, tokenPath: Readonly<Record<string, string>>): Members {
  const found: Members = Object.fromEntries(
    Object.entries(tokenPath).map(([name, pointer]) => [name, at(body, pointer)]),
  );
  // What is not there stands at the top: a refresh is answered flat where the first answer is nested.
  return { ...body, ...withoutUndefined(found) };
}

/** The value at a JSON pointer; undefined if there is none. */
export function at(body: unknown, pointer: string): unknown {
  const steps = pointer.split("/").slice(1);
  return steps.reduce<unknown>((value, step) => {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    return isMembers(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  }, body);
}

/** The code of an error that is an object, or the first of a list. */
function errorCodeIn(body: Members): unknown {
  const errors = body["errors"];
  const { error = Array.isArray(errors) ? errors[0] : undefined } = body;
  if (!isMembers(error)) return error;
  const code = ["error", "code", "type"]
    .map((name) => error[name])
    .find((value) => typeof value === "string");
  return code ?? "error_without_code";
}

function joinedScopes(scope: unknown): Members {
  return Array.isArray(scope) ? { scope: scope.join(" ") } : {};
}

function without(body: Members, name: string, unwanted: (value: unknown) => boolean): Members {
  return Object.fromEntries(Object.entries(body).filter(([key, value]) => key !== name || !unwanted(value)));
}

function withoutUndefined(body: Members): Members {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isNull = (value: unknown) => value === null;
const isZero = (value: unknown) => value === 0 || value === "0";
const isEmpty = (value: unknown) => value === null || value === "";
