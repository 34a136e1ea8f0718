import { decodedThrough } from "#src/platform/percent-encoding.ts";
import { ServiceError } from "#src/platform/errors.ts";

/** The URL carries what looks like a credential: URLs are logged by everything on their way. */
class CredentialsInUrl extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "CREDENTIALS_IN_URL";
  override readonly message = "credentials must not be sent in the URL";
}

/** Something in a URL that is a credential, by its looks or by the name of its parameter. */
export interface UrlCredential {
  readonly place: "path" | "query";
  readonly text: string;
}

/**
 * Whose parameters a query has. Another service's may have names that would be a credential's here (`?key=…`, `?token=…`
 * for the next page): only values that look like credentials of ours count there.
 */
export type QueryOwner = "ours" | "foreign";

/** Refuses a URL that names or holds a credential, also inside the message of a Connect GET. */
export function refuseCredentialsInUrl(url: string, queryOwner: QueryOwner = "ours"): void {
  const { done } = credentialsIn(url, queryOwner).next();
  if (done !== true) throw new CredentialsInUrl();
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

/** Finds the credentials one by one, some of them twice: most callers want to know of the first ones only. */
export function* credentialsIn(url: string, queryOwner: QueryOwner = "ours"): Generator<UrlCredential, void> {
  // Most URLs are a plain path, which one look clears.
  if (!/[?%]|qe_sk_/i.test(url)) return;
  const start = url.indexOf("?");
  // A path names things by their ids. A caller that puts a key there has mistaken one for the other, and would look for
  // the mistake elsewhere if the answer were that nothing has this id.
  yield* keysIn(decodedThrough(start === -1 ? url : url.slice(0, start)), "path");
  if (start === -1) return;
  const query = new URLSearchParams(url.slice(start + 1));
  // In one go: a URL has room for thousands of parameters, and one by one they would take ten times as long.
  const texts = decodedThrough([...query].flat().join(separator));
  yield* keysIn(texts, "query");
  yield* bearersIn(texts, queryOwner === "foreign" ? bearerFirst : bearerValue);
  if (queryOwner === "foreign") return;
  const messages = query.getAll("message").map(fromBase64).join(separator);
  yield* keysIn(messages, "query");
  yield* bearersIn(messages, bearerAnywhere);
  for (const [name, value] of query) if (names.has(simplified(name))) yield { place: "query", text: value };
  // It could not be searched.
  if (query.has("compression")) yield { place: "query", text: "" };
}

const keyShape = /qe_sk_(sandbox|live)_([a-z2-7]{32})/gi;

/** No key holds it, nor does it count as white space. */
const separator = "\0";
/** Where a value begins, also one of JSON or behind `Authorization:`; a sentence may speak of a bearer of news. */
const bearerValue = /(?:^|[^\w\s])\s*bearer\s+([^\s\0]+)/gi;
/** Where a whole value begins. */
const bearerFirst = /(?:^|\0)\s*bearer\s+([^\s\0]+)/gi;
/** In binary, anything may stand before it. */
const bearerAnywhere = /bearer\s+([^\s\0]+)/gi;

function* keysIn(text: string, place: UrlCredential["place"]): Generator<UrlCredential, void> {
  for (const [, environment = "", random = ""] of text.matchAll(keyShape)) {
    // A key whose case was changed on the way is no good, but everybody can change it back.
    yield { place, text: `qe_sk_${environment.toLowerCase()}_${random.toUpperCase()}` };
  }
}

function* bearersIn(text: string, shape: RegExp): Generator<UrlCredential, void> {
  for (const [, credential = ""] of text.matchAll(shape)) {
    yield { place: "query", text: credential };
  }
}

/** `access_token`, `Access-Token`, `access_token[]`: whatever reads it, it is the same name. */
function simplified(name: string): string {
  return decodedThrough(name)
    .toLowerCase()
    .replace(/\[\d*\]$/, "")
    .replace(/[^a-z0-9]/g, "");
}

// Both alphabets of base64; latin1 keeps every byte, so a key inside a binary message is found as well. A plus sign
// that was not escaped has become a space, which the decoder would skip.
function fromBase64(text: string): string {
  return Buffer.from(text.replaceAll(" ", "+"), "base64").toString("latin1");
}
