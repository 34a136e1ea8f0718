/** The API key, or what returns it: a function is asked before each call, so that a rotated key is picked up. */
export type ApiKey = string | (() => string);

/** What was given as the API key can be none. */
export class InvalidApiKey extends TypeError {}

/** The value of the `authorization` header. */
export function authorizationOf(apiKey: ApiKey): string {
  const key = (typeof apiKey === "function" ? apiKey() : apiKey).trim();
  // Refused here because Headers and Metadata quote the value they refuse, which would put the key into a log.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new InvalidApiKey(
      "apiKey is empty or holds a character that no key has; was the right variable or file read?",
    );
  }
  return `Bearer ${key}`;
}
