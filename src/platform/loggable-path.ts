import { decodedThrough } from "#src/platform/percent-encoding.ts";

const longest = 512;
const keyShape = /qe_sk_/i;

/** The path of a request's URL, fit for a log: no query, no API key, no character that could start a line. */
export function loggablePath(url: string): string {
  const path = pathOf(url)
    .replace(/[^\x21-\x7e]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .slice(0, longest);
  if (!keyShape.test(decodedThrough(path))) return path;
  return path
    .split("/")
    .map((segment) => (keyShape.test(decodedThrough(segment)) ? "[redacted]" : segment))
    .join("/");
}

function pathOf(url: string): string {
  if (url.startsWith("/")) return url.replace(/[?#].*$/s, "");
  // HTTP/1.1 also knows the whole URL, in which a user may have put a password, and `*`.
  return URL.parse(url)?.pathname ?? (url === "*" ? url : "[not-a-path]");
}
