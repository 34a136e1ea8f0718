import { createHash } from "node:crypto";
import { bytesOfHeader, headerOf, type SignedRequest } from "./request.ts";
import { type SignatureScheme, type SignedPart, signedParts } from "./scheme.ts";

/** What a sender may have signed, by the names that templates use. Made when it is asked for: most schemes need two. */
export type SignedParts = Readonly<Record<SignedPart, () => Buffer>>;

/** More than any form that Twilio sends, and little enough to read at once. */
const maxFormBytes = 64 * 1024;
const maxFormFields = 1_000;

/** What is signed if the scheme signs by this template, piece by piece. */
export function piecesOf(template: string, parts: SignedParts): Buffer[] {
  // Every other piece is what stood in braces.
  const pieces = template.split(/\{(\w+)\}/);
  return pieces.map((piece, index) =>
    index % 2 === 1 && isPart(piece) ? parts[piece]() : Buffer.from(piece),
  );
}

function isPart(name: string): name is SignedPart {
  return signedParts.some((part) => part === name);
}

/** Undefined if nothing that is signed could vouch for the body. */
export function partsOf(
  scheme: SignatureScheme,
  request: SignedRequest,
  { id = "", time = "" }: { id: string | undefined; time: string | undefined },
): SignedParts | undefined {
  const { method, url, body } = request;
  const form = scheme.signed.some((template) => template.includes("{form}")) ? formText(scheme, request) : "";
  if (form === undefined) return undefined;
  return {
    id: () => bytesOfHeader(id),
    time: () => bytesOfHeader(time),
    body: () => body,
    method: () => Buffer.from(method),
    url: () => Buffer.from(url),
    urlWithPort: () => Buffer.from(withPort(url, true)),
    urlWithoutPort: () => Buffer.from(withPort(url, false)),
    plainUrl: () => Buffer.from(plainUrl(url)),
    form: () => Buffer.from(form),
  };
}

/** The fields of a form; nothing, where the address holds the body's hash, or there is no body. */
function formText(scheme: SignatureScheme, { url, headers, body }: SignedRequest): string | undefined {
  if (scheme.bodyHashParameter !== undefined) {
    const [hash, ...more] = new URL(url).searchParams.getAll(scheme.bodyHashParameter);
    // It counts for forms too: else a body that is called one would be under no signature.
    if (hash !== undefined) return more.length === 0 && hash === sha256(body) ? "" : undefined;
  }
  const isForm = /^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(
    headerOf(headers, "content-type") ?? "",
  );
  if (isForm) return sortedFields(body);
  return body.length === 0 ? "" : undefined;
}

/** As the vendor's own code sorts: by UTF-16, and a value that comes twice counts once. */
function sortedFields(body: Buffer): string | undefined {
  if (body.length > maxFormBytes) return undefined;
  const text = body.toString("utf8");
  // Before it is parsed, which takes long for many.
  if (text.split("&", maxFormFields + 1).length > maxFormFields) return undefined;
  const fields = Map.groupBy(new URLSearchParams(text), ([name]) => name);
  return [...fields]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([name, pairs]) =>
      [...new Set(pairs.map(([, value]) => value))].sort().map((value) => name + value),
    )
    .join("");
}

function sha256(body: Buffer): string {
  return createHash("sha256").update(body).digest("hex");
}

/** The address with its port written out, or left out. Nothing else of it is written anew, as `URL` would. */
function withPort(url: string, written: boolean): string {
  return url.replace(
    /^(https?):\/\/([^/?#:[\]]+|\[[^\]]*\])(?::(\d+))?/i,
    (_, scheme: string, host: string, port = scheme.toLowerCase() === "https" ? "443" : "80") =>
      `${scheme}://${host}${written ? `:${port}` : ""}`,
  );
}

const plainCharacters = new Map(
  "':/?@!$()*,;".split("").map((one) => [`%${one.charCodeAt(0).toString(16).toUpperCase()}`, one]),
);

/** The address with those characters written out that HubSpot writes out before it signs. */
function plainUrl(url: string): string {
  return url.replace(/%[0-9a-f]{2}/gi, (code) => plainCharacters.get(code.toUpperCase()) ?? code);
}
