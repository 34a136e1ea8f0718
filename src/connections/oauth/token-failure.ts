/**
 * What is known of a request to an authorization server that gave no token:
 * - `refused`: the server answered with an error code.
 * - `unavailable`: it was not reached, or says that it cannot answer now. The request had no effect.
 * - `unusable`: it answered, and with nothing that can be used.
 * - `timeout`, `broken`: it was sent, and no answer came in time, or at all. What it did, nobody knows.
 */
export type TokenFailureKind = "refused" | "unavailable" | "unusable" | "timeout" | "broken";

/** A request to an authorization server failed. Its message is safe to show, and begins with the host. */
export class TokenFailure extends Error {
  override readonly name = "TokenFailure";
  readonly kind: TokenFailureKind;
  /** The error code of RFC 6749, for a `refused` one. */
  readonly code: string | undefined;
  /** When the server wants to be asked again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    kind: TokenFailureKind,
    message: string,
    { code, retryAfterSeconds }: { code?: string; retryAfterSeconds?: number | undefined } = {},
  ) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const shortestSecret = 8;

/**
 * A text of the other side, fit to be shown in one line. It may hold anything: whoever shows a request to its sender may
 * show what was secret in it.
 */
export function shown(text: unknown, secrets: readonly string[] = []): string {
  if (typeof text !== "string") return "";
  const forms = secrets
    .filter((secret) => secret.length >= shortestSecret)
    .flatMap((secret) => [
      secret,
      encodeURIComponent(secret),
      new URLSearchParams([["", secret]]).toString().slice(1),
    ]);
  const rest = forms.reduce((left, form) => left.replaceAll(form, "…"), text);
  return rest.replace(/[^\x20-\x7e]/g, " ").slice(0, 200);
}
