import type { Principal, VerifyKeyResponse } from "#gen/patchbay/verification/v1/verification_service_pb.js";

/** The decision about a request: it is admitted or refused. */
export type Verdict = Admission | Refusal;

/** The request may go on. */
export interface Admission {
  readonly principal: Principal;
  /** Header fields that belong to the answer, such as `ratelimit`. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What to answer instead. */
export interface Refusal {
  readonly principal?: undefined;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON, to be sent as it stands. */
  readonly body: string;
}

/** The answer while Patchbay cannot say whether a key is valid: no request is admitted on a guess. */
export const unavailable: Refusal = refusalOf(503, "keys cannot be verified right now; try again", {
  "retry-after": "1",
});

/** A refusal of the guard's own. */
export function refusalOf(status: number, error: string, headers: Record<string, string> = {}): Refusal {
  return {
    status,
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ error }),
  };
}

/** What Patchbay decided; undefined if its answer contradicts itself, and the request must be refused. */
export function verdictOf({ valid, principal, answer }: VerifyKeyResponse): Verdict | undefined {
  const { status = 0, headers = {}, body = "" } = answer ?? {};
  if (!canBeSent(headers)) return undefined;
  if (valid) return principal?.apiKeyId ? { principal: frozen(principal), headers } : undefined;
  if (status < 400 || status > 599) return undefined;
  return { status, headers: { "content-type": "application/json", ...headers }, body };
}

/** Whether every server can send them: one that cannot throws, where no handler would catch it. */
function canBeSent(headers: Readonly<Record<string, string>>): boolean {
  return Object.entries(headers).every(
    ([name, value]) => /^(?!.*-bin$)[\w.-]+$/.test(name) && /^[ -~]*$/.test(value),
  );
}

/** Several requests get the same principal; a change by one of them would count for the others. */
function frozen(principal: Principal): Principal {
  Object.freeze(principal.scopes);
  Object.freeze(principal.metadata);
  Object.freeze(principal.expiresAt);
  return Object.freeze(principal);
}

/** The text of a refusal, for protocols that have no JSON body. */
export function messageOf({ body }: Refusal): string {
  try {
    const { error } = JSON.parse(body) as { error: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Then the body itself is the message.
  }
  return body;
}
