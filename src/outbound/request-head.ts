import type { Secret } from "#src/platform/secret.ts";
import { baseUrlText, isWithin, type BaseUrl } from "./base-url.ts";
import { acceptedCodings } from "./body.ts";
import { InvalidOutboundRequest } from "./errors.ts";
import { callerServiceHeader, requestHeaders } from "./headers.ts";

/** The credential that a call is made with. */
export interface OutboundCredential {
  /** The base URL that it was stored for. */
  readonly boundTo: string;
  readonly secret: Secret;
  /** Sent beside it, for a key that only one service may present. */
  readonly callerService?: string | undefined;
}

/** The method, if it may be called. */
export function methodOf(method: string): string {
  // TRACE answers with the request and so with the credential; CONNECT would make a tunnel of us.
  if (!/^[A-Z][A-Z-]*$/.test(method) || ["CONNECT", "TRACE", "TRACK"].includes(method)) {
    throw new InvalidOutboundRequest("method: give an HTTP method in capitals, and not CONNECT or TRACE");
  }
  return method;
}

/**
 * The credential as text. A header has to be a string, which cannot be wiped as the Secret will be: undici
 * keeps it until the request is over, and memory until the collector comes by. So it is made here, at the
 * last moment, and never leaves the call.
 */
export function tokenFor(target: BaseUrl, given: OutboundCredential): string {
  if (!isWithin(baseUrlText(target), given.boundTo)) {
    throw new InvalidOutboundRequest(
      "the credential was stored for another base URL; give it again for this one",
    );
  }
  const token = given.secret.reveal().toString("latin1");
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new InvalidOutboundRequest(
      "the stored credential has characters that a header cannot carry; store it again",
    );
  }
  return token;
}

/** What is sent: the caller's headers that may be, ours, and the credential. */
export function headersOf(
  given: Readonly<Record<string, string>>,
  token: string | undefined,
  callerService: string | undefined,
): string[] {
  const fields = requestHeaders(given);
  if (!fields.has("user-agent")) fields.set("user-agent", "patchbay");
  fields.set("accept-encoding", acceptedCodings);
  // Last, so that no header of the caller can replace it.
  if (token !== undefined) fields.set("authorization", `Bearer ${token}`);
  if (callerService !== undefined) fields.set(callerServiceHeader, callerService);
  return [...fields].flat();
}
