/** What a guard needs to see of a request, whatever its protocol. */
export interface GuardedRequest {
  /** The values of all its Authorization headers. */
  readonly authorization: readonly string[];
  /** A header, or metadata, as the client sent it. */
  header(name: string): string | undefined;
  /** Where the connection comes from: a proxy, if there is one. */
  readonly remoteAddress: string | undefined;
}

const maxLength = 512;

/**
 * The one Authorization header, if it presents a Bearer token that could be a key; otherwise "", which is no key.
 * With two headers, it would depend on the reader (a proxy, Node or this guard) which of them counts.
 */
export function presentedKey({ authorization }: Pick<GuardedRequest, "authorization">): string {
  const [value, ...others] = authorization;
  if (value === undefined || others.length > 0 || value.length > maxLength) return "";
  return /^\s*bearer\s/i.test(value) ? value : "";
}
