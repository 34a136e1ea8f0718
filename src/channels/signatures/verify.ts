import type { Scheme } from "./scheme.ts";

/** What came, as it came. */
export interface SignedRequest {
  readonly method: string;
  /** The public address that the sender was given, with its query: never made of the Host header. */
  readonly url: string;
  /** Each line of the head: names in any case, values as node:http gives them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

/** Whether the sender is known, and what it signed beside the body. */
export type Verdict = Verified | Refused;

/** The sender holds one of the secrets. */
export interface Verified {
  readonly verified: true;
  /** The name of the scheme. */
  readonly scheme: string;
  /** When it was signed. */
  readonly timestamp?: Date;
  /** The id that is under the signature. */
  readonly id?: string;
}

/**
 * `ambiguous`: a header that must be there once is there twice. `wrong` is all else, and no difference must be told:
 * missing, stale, malformed and not made with a secret of ours.
 */
export interface Refused {
  readonly verified: false;
  readonly refusal: "wrong" | "ambiguous";
}

/** Checks a request against the secrets that are good now. Reads nothing of the body before its signature is right. */
export async function verifySignature(
  _scheme: Scheme,
  _request: SignedRequest,
  _secrets: readonly Buffer[],
  _now: Date,
): Promise<Verdict> {
  return { verified: false, refusal: "wrong" };
}
