import { InvalidOutboundRequest, InvalidPath } from "./errors.ts";

/** A query parameter; one that is `encoded` is percent-encoded already, and goes into the URL as it is. */
export type QueryPair = readonly [name: string, value: string, form?: "encoded"];

/**
 * What follows the origin in the request line: base path, path and query, exactly as they were checked. Without a
 * path it is the base path itself, and no slash is added.
 */
export function requestTarget(basePath: string, path: string, query: readonly QueryPair[]): string {
  const problem = path === "" ? undefined : pathProblem(path);
  if (problem !== undefined) throw new InvalidPath(problem);
  return (basePath + path || "/") + queryText(query);
}

/**
 * Why the path is refused; undefined for one that can only be read in one way.
 *
 * It is sent as it is, so nothing may be left that a URL parser, a proxy or the service itself would repair,
 * decode or resolve into another path.
 */
export function pathProblem(path: string): string | undefined {
  if (!path.startsWith("/") || path.startsWith("//")) return "start with exactly one /";
  if (!/^[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*$/.test(path)) {
    return "percent-encode everything but letters, digits and -._~!$&'()*+,;=:@/ (a query has its own field)";
  }
  let form: string;
  try {
    form = decodeURIComponent(path);
  } catch {
    return "each % must begin the escape of a UTF-8 character, such as %20";
  }
  for (let level = 0; level < maxEncodings; level++) {
    if (/[\0\r\n]/.test(form)) return "line breaks and NUL are not sent, encoded or not";
    // URL parsers take tabs out.
    const read = form.replaceAll("\t", "");
    if (hasDotSegment(read) || hasDotSegment(read.normalize("NFKC"))) {
      return "the segments . and .. are not sent, encoded or not";
    }
    const further: string = form.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(parseInt(hex, 16)),
    );
    if (further === form) return undefined;
    form = further;
  }
  return "a character is percent-encoded again and again; encode it once";
}

const maxEncodings = 4;

/** Finds it also with the parameters and blanks that some servers drop before they look. */
function hasDotSegment(path: string): boolean {
  return path.split(/[/\\]/).some((segment) => /^\s*\.{1,2}\s*(?:[;?#]|$)/.test(segment));
}

function queryText(query: readonly QueryPair[]): string {
  return query.map((pair, i) => (i === 0 ? "?" : "&") + pairText(pair)).join("");
}

function pairText([name, value, form]: QueryPair): string {
  if (form === undefined) return `${encoded(name)}=${encoded(value)}`;
  // Nothing that ends the name, the parameter, the query or the request line.
  if (!/^[A-Za-z0-9\-._~!$'()*+,;:@/?%]*$/.test(name + value.replaceAll("=", ""))) {
    throw new InvalidOutboundRequest("query: percent-encode all but letters, digits and -._~!$'()*+,;:@/?");
  }
  if (hasEncodedBreak(name + value))
    throw new InvalidOutboundRequest("query: line breaks and NUL are not sent");
  return `${name}=${value}`;
}

/** Whether a percent-encoded text has a line break or NUL, which are not sent. */
export function hasEncodedBreak(text: string): boolean {
  return /%(?:00|0a|0d)/i.test(text);
}

function encoded(text: string): string {
  if (/[\0\r\n]/.test(text)) throw new InvalidOutboundRequest("query: line breaks and NUL are not sent");
  if (!text.isWellFormed()) throw new InvalidOutboundRequest("query: the text is not valid Unicode");
  return encodeURIComponent(text);
}
