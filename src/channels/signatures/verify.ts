import { type SignedRequest, valuesOf } from "./request.ts";
import { provingHeaders, type Scheme } from "./scheme.ts";
import { checkSignature, type Signed } from "./signature.ts";
import { showsBasic, showsBodyToken, showsToken } from "./tokens.ts";

/** Whether the sender is known, and what it signed beside the body. */
export type Verdict = Verified | Refused;

/** The sender holds one of the secrets. */
export interface Verified extends Signed {
  readonly verified: true;
  /** The name of the scheme. */
  readonly scheme: string;
}

/**
 * `ambiguous`: a header that must be there once is there twice. `wrong` is all else, and the sender must not learn
 * which: missing, stale, malformed, or not made with a secret of ours.
 */
export interface Refused {
  readonly verified: false;
  readonly refusal: "wrong" | "ambiguous";
}

/**
 * Checks a request against the secrets that are good now. The body is not read before its signature is right, but for
 * schemes that show a secret in it, and for Twilio's forms, of which at most 64 KiB are read.
 */
export async function verifySignature(
  scheme: Scheme,
  request: SignedRequest,
  secrets: readonly Buffer[],
  now: Date,
): Promise<Verdict> {
  if (provingHeaders(scheme).some((name) => valuesOf(request.headers, name).length > 1)) {
    return { verified: false, refusal: "ambiguous" };
  }
  const signed = await check(scheme, request, secrets, now);
  if (signed === undefined) return { verified: false, refusal: "wrong" };
  return { verified: true, scheme: scheme.name, ...signed };
}

/** What the sender signed beside the body; undefined if it did not prove itself. */
async function check(
  scheme: Scheme,
  request: SignedRequest,
  secrets: readonly Buffer[],
  now: Date,
): Promise<Signed | undefined> {
  switch (scheme.kind) {
    case "signature":
      return checkSignature(scheme, request, secrets, now);
    case "token":
      return showsToken(scheme, request, secrets) ? {} : undefined;
    case "basic":
      return showsBasic(request, secrets) ? {} : undefined;
    case "body-token":
      return (await showsBodyToken(scheme, request, secrets)) ? {} : undefined;
  }
}
