import { baseUrlText, isWithin, type BaseUrl } from "./base-url.ts";
import { acceptedCodings } from "./body.ts";
import { InvalidOutboundRequest } from "./errors.ts";
import { replaceHeader, requestHeaders, type Fields } from "./headers.ts";
import type { Injection, OutboundCredential } from "./injection.ts";
import { sameParameter } from "./parameters.ts";
import type { QueryPair } from "./path.ts";

/** The method, if it may be called. */
export function methodOf(method: string): string {
  // TRACE answers with the request and so with the credential; CONNECT would make a tunnel of us.
  if (!/^[A-Z][A-Z-]*$/.test(method) || ["CONNECT", "TRACE", "TRACK"].includes(method)) {
    throw new InvalidOutboundRequest("method: give an HTTP method in capitals, and not CONNECT or TRACE");
  }
  return method;
}

/** Visible ASCII, with blanks between. */
const headerText = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** What the credential puts into a request to the target, if it was stored for that. */
export function injectionFor(target: BaseUrl, given: OutboundCredential): Injection {
  if (!isWithin(baseUrlText(target), given.boundTo)) {
    throw new InvalidOutboundRequest(
      "the credential was stored for another base URL; give it again for this one",
    );
  }
  const injection = given.reveal();
  if (!Object.values(injection.headers).every((value) => headerText.test(value))) {
    throw new InvalidOutboundRequest(
      "the stored credential has characters that a header cannot carry; store it again",
    );
  }
  return injection;
}

/** The headers that are sent: the caller's that may be, ours, and the credential. */
export function headersOf(given: Readonly<Record<string, string>>, injection: Injection): Fields {
  const fields = requestHeaders(given);
  if (!fields.has("user-agent")) fields.set("user-agent", "patchbay");
  fields.set("accept-encoding", acceptedCodings);
  // Last, so that no header of the caller can replace it.
  for (const [name, value] of Object.entries(injection.headers)) replaceHeader(fields, name, value);
  const cookies = Object.entries(injection.cookies).map(([name, value]) => `${name}=${value}`);
  if (cookies.length > 0) fields.set("cookie", cookies.join("; "));
  return fields;
}

/** The query that is sent: the caller's parameters, and the credential's in place of those of the same name. */
export function queryOf(given: readonly QueryPair[], injection: Injection): readonly QueryPair[] {
  const injected = Object.entries(injection.query);
  if (injected.length === 0) return given;
  const isReplaced = sameParameter(injected.map(([name]) => name));
  return [...given.filter((pair) => !isReplaced(plainName(pair))), ...injected];
}

function plainName([name, , form]: QueryPair): string {
  return form === "encoded" ? decodeURIComponent(name) : name;
}
