import { randomBytes } from "node:crypto";
import { hmacInTurns } from "#src/crypto/hmac-in-turns.ts";
import { Secret } from "#src/platform/secret.ts";

const secretBytes = 32;
const prefix = "whsec_";

/** What an endpoint's deliveries are signed with. */
export interface SigningSecrets {
  readonly current: Secret;
  /** The one that it replaced, while receivers may still know that one only. */
  readonly previous: Secret | undefined;
}

/** What is signed beside the body. */
export interface Signed {
  readonly id: string;
  /** In seconds. */
  readonly timestamp: number;
  readonly body: Buffer;
}

/** A new secret to sign with: its bytes, which are the HMAC's key. */
export function newSigningSecret(): Secret {
  return new Secret(randomBytes(secretBytes));
}

/** The secret as Standard Webhooks writes it, for the one answer that shows it. */
export function signingSecretText(secret: Secret): string {
  return prefix + secret.reveal().toString("base64");
}

/**
 * The headers that prove where a delivery comes from: Standard Webhooks, with a signature by each secret, and the plain
 * HMAC of the body. A receiver of the plain one reads one header and knows one secret, so while there are two, the
 * header it knows is by the previous one, and the new one has a header of its own.
 */
export async function signatureHeaders(
  { current, previous }: SigningSecrets,
  { id, timestamp, body }: Signed,
): Promise<Record<string, string>> {
  const head = Buffer.from(`${id}.${timestamp}.`);
  const live = previous === undefined ? [current] : [previous, current];
  const signatures: string[] = [];
  const plain: string[] = [];
  for (const secret of live) {
    const key = secret.reveal();
    signatures.push(`v1,${(await hmacInTurns("sha256", key, [head, body])).toString("base64")}`);
    plain.push(`sha256=${(await hmacInTurns("sha256", key, [body])).toString("hex")}`);
  }
  const [known = "", next] = plain;
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": signatures.join(" "),
    "x-qe-signature": known,
    ...(next !== undefined && { "x-qe-signature-next": next }),
  };
}
