import { readAddress } from "#src/platform/ip.ts";

/** The parts of a URL, from which each provider takes those that it knows. */
export interface UrlParts {
  readonly url: URL;
  /** The path, decoded, without the first slash. */
  readonly path: string;
  /** Takes a parameter out; what is left at the end was not known. */
  take(name: string): string | undefined;
  /** Fails if a parameter is left. */
  finish(known: readonly string[]): void;
}

/** Takes the URL apart. */
export function readParts(text: string): UrlParts {
  const url = URL.parse(text);
  if (url === null) throw new Error("give a URL, with special characters percent-encoded");
  if (url.username !== "" || url.password !== "" || url.hash !== "") {
    throw new Error("give a URL without user, password and #: credentials are given beside it");
  }
  const left = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (left.has(name)) throw new Error(`give ${shown(name)} once`);
    if (value === "") throw new Error(`give ${shown(name)} a value, or leave it out`);
    left.set(name, value);
  }
  return {
    url,
    path: decoded(url.pathname).replace(/^\//, ""),
    take(name) {
      const value = left.get(name);
      left.delete(name);
      return value;
    },
    finish(known) {
      const [unknown] = left.keys();
      if (unknown === undefined) return;
      throw new Error(`there is no place for ${shown(unknown)} here; there is ${known.join(", ")}`);
    },
  };
}

/** What looks like a name is one; what does not may be a secret that was pasted at the wrong place. */
function shown(name: string): string {
  return /^[a-z_]{1,24}$/.test(name) ? `the parameter ${name}` : "each parameter";
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new Error("give a URL whose path is percent-encoded correctly");
  }
}

/** The address that a provider is asked at instead of its public one; undefined if none is given. */
export function endpointOf(parts: UrlParts): URL | undefined {
  const text = parts.take("endpoint");
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url === null || url.origin === "null" || url.href !== `${url.origin}/`) {
    throw new Error("give as endpoint an origin such as https://kms.internal, without path");
  }
  requireSafe(url);
  return url;
}

/** Whoever listens on the way would read the keys of all organisations. */
export function requireSafe(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLocal = host === "localhost" || readAddress(host)?.range() === "loopback";
  if (url.protocol === "https:" || (url.protocol === "http:" && isLocal)) return;
  throw new Error("give an https address: without TLS, only a service on this machine is asked");
}
