/** A request is not what Patchbay sent: another secret, another body, or another time. */
export class WrongSignature extends Error {
  override readonly name = "WrongSignature";

  constructor() {
    super("the signature is missing, wrong or too old; are the secrets those of this endpoint?");
  }
}

const toleranceSeconds = 300;
/** While a secret is replaced there are two. */
const maxSignatures = 8;
const prefix = "whsec_";

/** Checks the signatures of Standard Webhooks, by any of the secrets, and answers the signed id. */
export async function verifyWebhook(
  { headers, body }: { headers: Headers; body: Uint8Array<ArrayBuffer> },
  secrets: readonly string[],
  now: Date,
): Promise<string> {
  const id = headers.get("webhook-id") ?? "";
  const timestamp = headers.get("webhook-timestamp") ?? "";
  const given = (headers.get("webhook-signature") ?? "").split(" ").filter((one) => one.startsWith("v1,"));
  const isNear =
    /^\d{1,12}$/.test(timestamp) &&
    Math.abs(Math.floor(now.getTime() / 1000) - Number(timestamp)) <= toleranceSeconds;
  if (id === "" || !isNear || given.length > maxSignatures) throw new WrongSignature();

  const signed = joined(new TextEncoder().encode(`${id}.${timestamp}.`), body);
  for (const secret of secrets) {
    const key = await keyOf(secret);
    for (const signature of given) {
      const bytes = bytesOf(signature.slice("v1,".length));
      // It compares in constant time.
      if (bytes !== undefined && (await crypto.subtle.verify("HMAC", key, bytes, signed))) return id;
    }
  }
  throw new WrongSignature();
}

function keyOf(secret: string) {
  const text = secret.trim();
  const bytes = text.startsWith(prefix) ? bytesOf(text.slice(prefix.length)) : undefined;
  if (bytes === undefined || bytes.length === 0) {
    throw new TypeError(
      "a secret of the endpoint is whsec_ and base64, and this is none; was the right variable or file read?",
    );
  }
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

/** Base64 as bytes, without what only Node has. */
function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function joined(head: Uint8Array, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(head.length + body.length);
  all.set(head);
  all.set(body, head.length);
  return all;
}
