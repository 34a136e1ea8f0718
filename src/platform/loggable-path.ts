import { targetOf } from "./http.ts";
import type { KeyShapes } from "./key-shapes.ts";
import { decodedThrough } from "./percent-encoding.ts";

const longest = 512;

/** The path of a request's URL, fit for a log: no query, no API key, no character that could start a line. */
export function loggablePath(url: string, keys: KeyShapes): string {
  const path = withoutSegment(pathOf(url))
    .slice(0, longest)
    .replace(/[^\x21-\x7e]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .slice(0, longest);
  if (!keys.foundIn(decodedThrough(path))) return path;
  return path
    .split("/")
    .map((segment) => (keys.foundIn(decodedThrough(segment)) ? "[redacted]" : segment))
    .join("/");
}

/** The path of a receiver of events may end in a secret: only the id of the channel is written. */
function withoutSegment(path: string): string {
  if (!path.startsWith("/in/")) return path;
  const [known] = /^\/in\/chn_[0-9A-Z]{26}(?=\/|$)/.exec(path) ?? ["/in"];
  return path.length === known.length ? path : `${known}/[redacted]`;
}

/** Only the path, even of a whole URL: a client may have put a password into that. */
function pathOf(url: string): string {
  const path = targetOf({ url }).path.replace(/#.*$/s, "");
  return path.startsWith("/") || path === "*" ? path : "[not-a-path]";
}
