import type { IncomingHttpHeaders } from "node:http";
import { InvalidOutboundRequest } from "./errors.ts";

/** Header fields by lower-case name, none of them twice. */
export type Fields = Map<string, string>;

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Whether a header may have this name. */
export function isHeaderName(name: string): boolean {
  return token.test(name);
}

/** Whether a header may have this value: nothing that ends it, and nothing that servers read in several ways. */
export function isHeaderValue(value: string): boolean {
  return fieldValue.test(value);
}

/** Says which service presents the credential, if that is a key which only one service may present. */
export const callerServiceHeader = "x-caller-service";

/** Headers of one connection, which mean nothing, or something else, on the next. */
const hopByHop = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Headers that only we may set: the host, the caller, the length, and the answers that we can read. */
const ours = new Set([
  "accept-encoding",
  "authorization",
  "content-length",
  "cookie",
  "cookie2",
  "expect",
  "forwarded",
  "host",
  // A key may be limited to some paths, and some servers take the path from these.
  "x-envoy-original-path",
  "x-original-path",
  "x-original-uri",
  "x-original-url",
  "x-override-url",
  "x-rewrite-uri",
  "x-rewrite-url",
  // A sibling passes it on when it asks whether a key is good.
  callerServiceHeader,
  // Rights go by method, so a service must not be made to take another one than that which was asked for.
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
]);

/**
 * Whether only this service may set the header, so that no recipe of a connection can: what frames the message, names
 * the host or the caller, or is made of other parts of the recipe, as Cookie is. A credential may be in Authorization.
 */
export function isReservedHeader(name: string): boolean {
  const plain = plainName(name);
  return plain !== "authorization" && isOurs(plain);
}

/** The caller's headers that go to the service; everything else of them is dropped. */
export function requestHeaders(given: Readonly<Record<string, string>>): Fields {
  const fields: Fields = new Map();
  for (const [name, value] of Object.entries(given)) {
    if (!isHeaderName(name)) {
      throw new InvalidOutboundRequest("headers: a name has characters that header names cannot have");
    }
    if (!isHeaderValue(value)) {
      throw new InvalidOutboundRequest(
        `headers.${name}: line breaks, control and non-Latin-1 characters are not sent`,
      );
    }
    const lower = name.toLowerCase();
    if (fields.has(lower))
      throw new InvalidOutboundRequest(`headers.${name}: given twice, in different letter case`);
    fields.set(lower, value);
  }
  const dropped = connectionOptions(fields.get("connection"));
  for (const name of fields.keys()) {
    if (dropped.has(name) || isOurs(plainName(name))) fields.delete(name);
  }
  return fields;
}

/** The service's headers, given by lower-case name: repeated ones joined, what is for us alone left out. */
export function replyHeaders(given: IncomingHttpHeaders): Fields {
  const fields: Fields = new Map();
  for (const [name, value = ""] of Object.entries(given)) {
    fields.set(name, typeof value === "string" ? value : value.join(", "));
  }
  const dropped = connectionOptions(fields.get("connection"));
  for (const name of fields.keys()) {
    // A cookie would be a session that one caller's answer gives to all callers of the connection.
    if (dropped.has(name) || isHopByHop(name) || /^set-cookie2?$/.test(name)) fields.delete(name);
  }
  return fields;
}

/**
 * Sets a header in place of whatever a service could take for it.
 */
export function replaceHeader(fields: Fields, name: string, value: string): void {
  const plain = plainName(name);
  // Those are gone already.
  if (!ours.has(plain)) {
    for (const known of fields.keys()) if (plainName(known) === plain) fields.delete(known);
  }
  fields.set(name, value);
}

/**
 * The name as servers see it that pass headers on as CGI variables: they cannot tell X_Forwarded_For or X.Forwarded.For
 * from X-Forwarded-For.
 */
function plainName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "-");
}

function isOurs(plain: string): boolean {
  return isHopByHop(plain) || ours.has(plain) || plain.startsWith("x-forwarded-");
}

function connectionOptions(value: string | undefined): Set<string> {
  return new Set((value ?? "").split(",").map((option) => option.trim().toLowerCase()));
}

function isHopByHop(name: string): boolean {
  return hopByHop.has(name) || name.startsWith("proxy-");
}
