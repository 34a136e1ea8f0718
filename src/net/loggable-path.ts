const longest = 512;
const keyShape = /qe_sk_/i;

/** The path of a request's URL, fit for a log: no query, no API key, no character that could start a line. */
export function loggablePath(url: string): string {
  const path = pathOf(url)
    .replace(/[^\x21-\x7e]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .slice(0, longest);
  if (!keyShape.test(decoded(path))) return path;
  return path
    .split("/")
    .map((segment) => (keyShape.test(decoded(segment)) ? "[redacted]" : segment))
    .join("/");
}

function pathOf(url: string): string {
  if (url.startsWith("/")) return url.replace(/[?#].*$/s, "");
  // HTTP/1.1 also knows the whole URL, in which a user may have put a password, and `*`.
  return URL.parse(url)?.pathname ?? (url === "*" ? url : "[not-a-path]");
}

/** Decodes what can be decoded; broken escapes stay, as they must not keep a key from being seen. */
function decoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
