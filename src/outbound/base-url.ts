import { isIP } from "node:net";
import { InvalidBaseUrl } from "./errors.ts";
import { isHostName, withoutDot } from "./hosts.ts";
import { pathProblem } from "./path.ts";

/** Where the calls of a connection go. */
export interface BaseUrl {
  readonly origin: string;
  /** The host as an address without brackets, or a name in ASCII. */
  readonly host: string;
  readonly port: number;
  /** What every path is appended to; empty, or begins with a slash and does not end with one. */
  readonly path: string;
}

/**
 * Reads a base URL from its raw text. URL parsers repair what they get (backslashes, missing slashes, tabs,
 * dot segments), and what they make of it need not be what a person saw there, so such text is refused and
 * only scheme, host and port are left to the parser.
 */
export function readBaseUrl(raw: string): BaseUrl {
  if (/[\0-\x20\x7f\\]/.test(raw))
    throw new InvalidBaseUrl("leave out spaces, control characters and backslashes");
  const [whole, scheme, authority, path = "", rest] =
    /^(https?):\/\/([^/?#]+)(\/[^?#]*)?(.*)$/is.exec(raw) ?? [];
  if (whole === undefined) {
    throw new InvalidBaseUrl("give an absolute http:// or https:// URL, such as https://bank.example/api");
  }
  if (authority?.includes("@")) {
    throw new InvalidBaseUrl("leave out user name and password; a credential is given in a field of its own");
  }
  if (rest !== "") throw new InvalidBaseUrl("leave out query and fragment; a query is given with each call");
  const url = URL.parse(`${scheme}://${authority}`);
  const host = url?.hostname.replace(/^\[(.*)\]$/, "$1") ?? "";
  if (url === null || url.port === "0" || !(isIP(host) !== 0 || isHostName(withoutDot(host)))) {
    throw new InvalidBaseUrl("the host name or the port is not valid");
  }
  return {
    origin: url.origin,
    host,
    port: Number(url.port || (url.protocol === "https:" ? 443 : 80)),
    path: basePath(path),
  };
}

/** The base URL in the form in which it is stored and compared: without a slash at its end. */
export function baseUrlText({ origin, path }: BaseUrl): string {
  return origin + path;
}

/**
 * Whether all calls of the base URL are calls of the other one too: it is the same, or goes on behind a slash. Both are
 * in the form of `baseUrlText`, so that an origin or a path that merely begins alike does not count.
 */
export function isWithin(baseUrl: string, outer: string): boolean {
  return baseUrl === outer || baseUrl.startsWith(`${outer}/`);
}

function basePath(path: string): string {
  const problem = path === "" ? undefined : pathProblem(path);
  if (problem !== undefined) throw new InvalidBaseUrl(`in its path: ${problem}`);
  return path.replace(/\/$/, "");
}
