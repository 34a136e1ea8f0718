import {
  UpstreamTimeout,
  UpstreamTooLarge,
  UpstreamUnreachable,
  AddressDenied,
} from "#src/outbound/errors.ts";
import type { Outbound, OutboundReply } from "#src/outbound/outbound.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { TokenFailure } from "./token-failure.ts";

/** Less than the lease of a refresh, so that a request is over before anybody else may make one. */
const exchangeMs = 20_000;
const mostBytes = 1024 * 1024;

/** A request to an authorization server. */
export interface ExchangeRequest {
  /** The organisation. */
  readonly share: string;
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Makes a request to an authorization server, within our address rules. Throws `TokenFailure`. */
export type Exchange = (request: ExchangeRequest) => Promise<OutboundReply>;

/** Requests to authorization servers have a lane of their own, so that calls do not hold up the tokens they need. */
export function createExchange(outbound: Pick<Outbound, "send">): Exchange {
  return async ({ share, url, method, headers, body }) => {
    const { origin, host, pathname, searchParams } = new URL(url);
    const { authorization, ...others } = headers;
    let isSent = false;
    let held = 0;
    try {
      const reply = await outbound.send({
        share,
        lane: "oauth",
        baseUrl: origin,
        method,
        path: pathname,
        query: [...searchParams],
        headers: others,
        ...(body !== undefined && { body: Buffer.from(body) }),
        ...(authorization !== undefined && { credential: header(origin, authorization) }),
        timeoutMs: exchangeMs,
        onSent: () => (isSent = true),
        // Each byte is counted twice, as it is held twice for a moment, and once more in both when it is inflated.
        hold(bytes) {
          held += bytes;
          if (held > 4 * mostBytes)
            throw new UpstreamTooLarge(host, "answered with more than 1 MiB", undefined);
        },
      });
      if (reply.body.length > mostBytes)
        throw new TokenFailure("unusable", `${host} answered with more than 1 MiB`);
      requireAnswer(host, reply);
      return reply;
    } catch (error) {
      throw asTokenFailure(error, isSent);
    }
  };
}

/** Only headers of a credential may be called `authorization`. No answer of these is passed on, so nothing is sought in it. */
function header(origin: string, authorization: string) {
  return {
    boundTo: origin,
    reveal: () => ({ headers: { authorization }, query: {}, cookies: {}, body: {}, secrets: [] }),
  };
}

/** Throws for a status that says nothing about the request. */
function requireAnswer(host: string, { status, headers }: OutboundReply): void {
  if (status === 429 || status >= 500) {
    const retryAfterSeconds = secondsOf(headers["retry-after"]);
    throw new TokenFailure("unavailable", `${host} answered with status ${status}`, { retryAfterSeconds });
  }
  if (status >= 300 && status < 400) {
    throw new TokenFailure("unusable", `${host} answered with a redirect (${status}), which is not followed`);
  }
}

function secondsOf(retryAfter: string | undefined): number | undefined {
  const seconds = Number(retryAfter);
  return retryAfter !== undefined && seconds > 0 ? seconds : undefined;
}

function asTokenFailure(error: unknown, isSent: boolean): unknown {
  if (!(error instanceof ServiceError)) return error;
  const { message } = error;
  if (error instanceof UpstreamTooLarge) return new TokenFailure("unusable", message);
  if (error instanceof AddressDenied || !isSent) return new TokenFailure("unavailable", message);
  if (error instanceof UpstreamTimeout) return new TokenFailure("timeout", message);
  return error instanceof UpstreamUnreachable ? new TokenFailure("broken", message) : error;
}
