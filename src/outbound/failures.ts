import { errors } from "undici";
import type { CallSlotLimits } from "./call-slots.ts";
import { ConnectFailed, connectTimeout } from "./connector.ts";
import { UpstreamTimeout, UpstreamTooLarge, UpstreamUnreachable, type Progress } from "./errors.ts";

/** What to say for a code, after the host's name. Never the error's own message: it can name addresses. */
const problems: Readonly<Record<string, string>> = {
  ENOTFOUND: "has no address; check the host name in the base URL",
  EAI_AGAIN: "could not be looked up, the name server does not answer; try again",
  ECONNREFUSED: "refuses the connection; check the port, and that the service is running",
  ECONNRESET: "broke off the connection; look into its log",
  EHOSTUNREACH: "cannot be reached from this network; check the base URL and the routes",
  ENETUNREACH: "cannot be reached from this network; check the base URL and the routes",
  EPIPE: "broke off the connection; look into its log",
  ECANCELED: "was being connected to when Patchbay shut down; try again",
  UND_ERR_SOCKET: "closed the connection before its answer was complete; look into its log",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "sent another number of bytes than it announced",
  UND_ERR_DESTROYED: "was being called when Patchbay shut down",
  UND_ERR_CLOSED: "was to be called when Patchbay shut down; try again",
  CERT_HAS_EXPIRED: "has a certificate that has expired; renew it there",
  CERT_NOT_YET_VALID: "has a certificate that is not valid yet; check both clocks",
  CERT_REVOKED: "has a certificate that was revoked; renew it there",
  DEPTH_ZERO_SELF_SIGNED_CERT: "has a self-signed certificate; trust it with NODE_EXTRA_CA_CERTS",
  SELF_SIGNED_CERT_IN_CHAIN: "has a certificate of an unknown authority; trust it with NODE_EXTRA_CA_CERTS",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "has a certificate of an unknown authority; trust it with NODE_EXTRA_CA_CERTS",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "does not send its whole certificate chain; add the intermediate ones there",
  ERR_TLS_CERT_ALTNAME_INVALID: "has a certificate for another host name; check the base URL",
  ERR_SSL_WRONG_VERSION_NUMBER: "does not speak TLS on this port; check the port, or use http://",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "does not speak TLS on this port; check the port, or use http://",
  "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE":
    "refuses the TLS handshake; check whether it asks for a client certificate",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    "asks for a client certificate; store one with the connection's credential",
  EPROTO: "and Patchbay could not agree on TLS; check the port and the service's TLS settings",
};

/**
 * The failure as a service error; an error that the service did not cause stays what it is. The status is that of the
 * answer, if it had begun.
 */
export function upstreamFailure(error: unknown, host: string, status?: number): unknown {
  if (error instanceof ConnectFailed) {
    const { stage, code } = error;
    if (code === connectTimeout || code === "ETIMEDOUT") {
      const problem =
        stage === "QUEUE"
          ? notLookedUp
          : "could not be connected to in time; check the base URL and firewalls";
      return new UpstreamTimeout(host, problem, { stage });
    }
    return unreachable(host, code, { stage });
  }
  const progress = { stage: "HTTP", status } as const;
  // Carries the bytes that undici could not read, which may hold what we sent, and in this version no code.
  if (error instanceof errors.HTTPParserError) {
    return new UpstreamUnreachable(
      host,
      "answered with something that is not HTTP; check the port",
      progress,
    );
  }
  const { code } = error as { code?: unknown };
  if (typeof code !== "string" || code === "UND_ERR_INVALID_ARG") return error;
  switch (code) {
    case "UND_ERR_HEADERS_TIMEOUT":
      return new UpstreamTimeout(host, "did not begin to answer in time", progress);
    case "UND_ERR_BODY_TIMEOUT":
    case "ETIMEDOUT":
      return new UpstreamTimeout(host, "fell silent in the middle of its answer", progress);
    case "UND_ERR_HEADERS_OVERFLOW":
      return new UpstreamTooLarge(host, tooManyHeaders, status);
    default:
      return unreachable(host, code, progress);
  }
}

/** What passes by itself. A name without an address or a wrong certificate stays so. */
const transient = new Set([
  "EAI_AGAIN",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EPIPE",
  "UND_ERR_SOCKET",
]);

function unreachable(host: string, code: string, progress: Progress): UpstreamUnreachable {
  return new UpstreamUnreachable(
    host,
    problems[code] ?? `failed with ${code}`,
    progress,
    transient.has(code),
  );
}

/** What to say when there are more headers than are read. */
export const tooManyHeaders = "answered with more headers than are read";

/** What to say of an answer with more than this many bytes. */
export function moreThan(bytes: number): string {
  const limit = bytes >= 1024 * 1024 ? `${Math.floor(bytes / 1024 / 1024)} MiB` : `${bytes} bytes`;
  return `answered with more than ${limit}; ask it for less, such as one page`;
}

/** What to say of a call that had no slot in this time. */
export function notCalled(
  seconds: number,
  { callsPerOrigin, callsPerShare }: Pick<CallSlotLimits, "callsPerOrigin" | "callsPerShare">,
): string {
  return (
    `was not called in ${seconds} s, because earlier calls of your organisation were still under way ` +
    `(at most ${callsPerOrigin} to one origin and ${callsPerShare} in all); make fewer at a time`
  );
}

/** What to say when a name was not looked up, because others had the turn all the time. */
export const notLookedUp =
  "was not looked up in time, because an earlier look-up of your organisation had no answer yet and one runs at a " +
  "time; check the host names of all your connections";
