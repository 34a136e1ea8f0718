import { setTimeout as passed } from "node:timers/promises";
import { UpstreamUnreachable } from "#src/outbound/errors.ts";
import { requestHeaders } from "#src/outbound/headers.ts";
import type { OutboundReply } from "#src/outbound/outbound.ts";

/** What a call says of whether it may be made twice. */
export interface Repeatable {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
}

/** How a try ended. `sent` says whether the service may have seen a part of the request. */
export type Outcome<Reply = Pick<OutboundReply, "status" | "headers">> =
  { readonly reply: Reply } | { readonly error: unknown; readonly sent: boolean };

/** Further tries after the first. */
const maxRetries = 2;

/** Nothing waits longer than this for a service to recover; its caller can. */
const longestWaitMs = 10_000;
const firstPauseMs = 200;
/** A larger body is not sent twice. */
const maxBodyBytes = 1024 * 1024;

/** Whether a request with this body may be sent a second time at all. */
export function hasRepeatableBody({ body }: Pick<Repeatable, "body">): boolean {
  return (body?.length ?? 0) <= maxBodyBytes;
}

/**
 * How long to wait before the call is tried again; undefined if the outcome stands. Only what did not reach the service
 * is tried again whatever its method. A wait that the service asks for is kept, or the outcome stands: a try before that
 * would only add to its load.
 */
export function waitBeforeRetry(
  call: Repeatable,
  outcome: Outcome,
  { retries, msLeft, now, random }: { retries: number; msLeft: number; now: Date; random: () => number },
): number | undefined {
  if (retries >= maxRetries || !hasRepeatableBody(call) || !mayRepeat(call, outcome)) return undefined;
  const asked = "reply" in outcome ? retryAfterMs(outcome.reply.headers["retry-after"], now) : undefined;
  // Spread out, so that callers that failed together do not come back together.
  const wait = asked ?? firstPauseMs * 2 ** retries * (0.5 + random() / 2);
  return wait > longestWaitMs || wait >= msLeft ? undefined : wait;
}

function mayRepeat(call: Repeatable, outcome: Outcome): boolean {
  if ("reply" in outcome) return [429, 502, 503, 504].includes(outcome.reply.status) && isIdempotent(call);
  const { error, sent } = outcome;
  return error instanceof UpstreamUnreachable && error.isTransient && (!sent || isIdempotent(call));
}

/** PUT and DELETE ought to be (RFC 9110, 9.2.2), but not every service keeps that, and none has said so here. */
function isIdempotent({ method, headers }: Repeatable): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "OPTIONS":
      return true;
    case "POST":
      // As it is sent: one that the caller names in Connection does not reach the service.
      return (requestHeaders(headers).get("idempotency-key") ?? "").trim() !== "";
    default:
      return false;
  }
}

/** `Retry-After` in either form (RFC 9110, 10.2.3); undefined for what is neither. */
export function retryAfterMs(text: string | undefined, now: Date): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now.getTime());
}

/** Waits before a retry, unless the signal aborts; its reason is thrown then. */
export async function pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await passed(waitMs, undefined, signal && { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
