/** How a sender proves itself. Data and not code, so that a channel may bring one of its own. */
export type Scheme = SignatureScheme | TokenScheme | BodyTokenScheme | BasicScheme;

/** The sender signs what it sends. */
export interface SignatureScheme {
  readonly kind: "signature";
  /** What an event says of how its sender was known. */
  readonly name: string;
  /** The header with the signatures. */
  readonly header: string;
  /** What parts the signatures, if there may be several in the header. */
  readonly separator?: " " | ",";
  readonly encoding: "hex" | "base64" | "base64url";
  /** What may be in the header; one good signature is enough. */
  readonly proofs: readonly Proof[];
  /**
   * What is signed, with the parts of `signedParts` in braces, such as `{time}.{body}`. Of several, any may be it: some
   * senders write the address in more than one way.
   */
  readonly signed: readonly string[];
  /** The header of the part `{id}`. */
  readonly idHeader?: string;
  /** Where the part `{time}` is. */
  readonly time?: SignedTime;
  /** How far the time may be from ours, to both sides; 5,400 at most. Absent: 300. */
  readonly toleranceSeconds?: number;
  /** The parameter of the address that holds the SHA-256, in hex, of a body that is not a form. */
  readonly bodyHashParameter?: string;
}

/** A kind of signature in the header. */
export interface Proof {
  readonly algorithm: "hmac-sha1" | "hmac-sha256" | "hmac-sha512" | "ed25519";
  /** What stands before a signature of this kind. */
  readonly prefix?: string;
  readonly secret: SecretForm;
}

/**
 * How a secret is written: as the bytes that it is (`text`), as base64 that may follow `whsec_`, as a public key in
 * base64 after `whpk_`, or as a public key in hex.
 */
export type SecretForm = "text" | "whsec" | "whpk" | "hex-key";

/** When the sender signed, in whole seconds or milliseconds since 1970. */
export interface SignedTime {
  readonly header: string;
  /** What it stands after, where the header holds more than the time. */
  readonly prefix?: string;
  readonly unit: "s" | "ms";
}

/** The sender shows a secret in a header. */
export interface TokenScheme {
  readonly kind: "token";
  readonly name: string;
  readonly header: string;
  /** What stands before it, such as `Bearer `. */
  readonly prefix?: string;
}

/** The sender shows a secret in its JSON. */
export interface BodyTokenScheme {
  readonly kind: "body-token";
  readonly name: string;
  /** Where: a JSON Pointer whose `*` stands for each item of a list. Every item must show it. */
  readonly pointer: string;
}

/** The sender shows a name and a password, which are the secret as `name:password`. */
export interface BasicScheme {
  readonly kind: "basic";
  readonly name: string;
}

/** What may stand in braces in what is signed. */
export const signedParts = [
  "id",
  "time",
  "body",
  "method",
  /** The public address, as it is. */
  "url",
  /** With the standard port of its scheme written out, and without any port. */
  "urlWithPort",
  "urlWithoutPort",
  /** With the characters written out that HubSpot does not encode. */
  "plainUrl",
  /** The fields of a form, sorted by their names: each name and value after the other. */
  "form",
] as const;

/** The name of a part of what is signed. */
export type SignedPart = (typeof signedParts)[number];

/** Zoom's last retry comes 85 minutes after the first try. */
export const maxToleranceSeconds = 5_400;

/** The names of headers by which a sender proves itself: not to be stored with what it sent. */
export function provingHeaders(scheme: Scheme): string[] {
  switch (scheme.kind) {
    case "signature": {
      const { header, idHeader, time } = scheme;
      return [...new Set([header, idHeader, time?.header])].filter((name) => name !== undefined);
    }
    case "token":
      return [scheme.header];
    case "basic":
      return ["authorization"];
    case "body-token":
      return [];
  }
}
