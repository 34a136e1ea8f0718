import { ServiceError } from "#src/platform/errors.ts";

/** The URL carries what looks like a credential: URLs are logged by everything on their way. */
class CredentialsInUrl extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "CREDENTIALS_IN_URL";

  constructor() {
    super("credentials must not be sent in the URL");
  }
}

const names = new Set([
  "accesstoken",
  "token",
  "bearer",
  "bearertoken",
  "auth",
  "authtoken",
  "authorization",
  "apikey",
  "xapikey",
  "key",
]);

const keyShaped = /qe_sk_(?:sandbox|live)_[A-Za-z2-7]{32}|\bbearer\s+\S/i;

/** Refuses a URL whose query names or holds a credential, also inside the message of a Connect GET. */
export function refuseCredentialsInUrl(url: string): void {
  const start = url.indexOf("?");
  if (start === -1) return;
  const query = new URLSearchParams(url.slice(start + 1));
  for (const [name, value] of query) {
    if (names.has(name.toLowerCase().replace(/[-_]/g, ""))) throw new CredentialsInUrl();
    if (keyShaped.test(value)) throw new CredentialsInUrl();
  }
  // Nobody could look into it.
  if (query.has("compression")) throw new CredentialsInUrl();
  const message = query.get("message");
  if (message !== null && query.get("base64") === "1" && keyShaped.test(fromBase64(message))) {
    throw new CredentialsInUrl();
  }
}

// Both alphabets of base64; latin1 keeps every byte, so a key inside a binary message is found as well.
function fromBase64(text: string): string {
  return Buffer.from(text, "base64").toString("latin1");
}
