import { retryAfterMs } from "#src/calls/retry.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { reflects } from "#src/outbound/reflection.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { Secret } from "#src/platform/secret.ts";
import { hopsOf, payloadOf, previousOf } from "./payload.ts";
import { signatureHeaders, type SigningSecrets } from "./signing.ts";

/** Where a delivery goes, with its secrets opened. */
export interface Receiver {
  readonly orgId: string;
  readonly endpointId: string;
  readonly url: string;
  readonly body: "webhook" | "binary";
  /** Of the form `webhook`. */
  readonly contentType: string;
  /** Its own headers. */
  readonly headers: Readonly<Record<string, Secret>>;
  readonly secrets: SigningSecrets;
}

/** An event on its way to an endpoint. */
export interface Delivery {
  readonly event: LoggedEvent;
  /** As which of its types. */
  readonly type: string;
  /** The same in every try: receivers drop what they know by it. */
  readonly webhookId: string;
  /** From 1. */
  readonly attempt: number;
  /** The number of the event before it in its log that this endpoint's types selected; null where a chain begins. */
  readonly previous: number | null;
  readonly redelivery: boolean;
}

/** What came of a delivery. Nothing of the answer's body: an endpoint that leads inside must not show what is there. */
export interface Outcome {
  readonly ok: boolean;
  /** Undefined if there was no answer. */
  readonly status: number | undefined;
  /** How far it came, if it failed. */
  readonly stage: Stage | undefined;
  readonly latencyMs: number;
  readonly answerType: string | undefined;
  readonly answerBytes: number | undefined;
  /** How long the endpoint asked to be left alone. */
  readonly retryAfterMs: number | undefined;
}

/** `ADDRESS` for an address that may not be called, `REQUEST` for what cannot be sent. */
export type Stage = "REQUEST" | "ADDRESS" | "QUEUE" | "DNS" | "TCP" | "TLS" | "HTTP";

/** Sends one event to one endpoint, once. Throws only the reason of the signal. */
export type Deliver = (receiver: Receiver, delivery: Delivery, signal: AbortSignal) => Promise<Outcome>;

const timeoutMs = 15_000;
const maxRetryAfterMs = 24 * 60 * 60 * 1000;

export function createDeliver(parts: { outbound: Outbound; now: () => Date }): Deliver {
  const { outbound, now } = parts;

  return async (receiver, delivery, signal) => {
    const startedAt = performance.now();
    try {
      const reply = await outbound.send({ ...(await requestOf(receiver, delivery, now())), signal });
      const outcome = outcomeOf(reply, performance.now() - startedAt, now());
      return { ...outcome, answerType: await shownType(reply.headers["content-type"], receiver) };
    } catch (error) {
      if (signal.aborted || !(error instanceof ServiceError)) throw error;
      return { ...nothingOf(error), ok: false, latencyMs: performance.now() - startedAt };
    }
  };
}

async function requestOf(receiver: Receiver, delivery: Delivery, now: Date) {
  const { orgId, endpointId, url } = receiver;
  const { event, type, previous } = delivery;
  const payload = await payloadOf(event, { ...receiver, type, previous });
  const timestamp = Math.floor(now.getTime() / 1000);
  const signature = await signatureHeaders(receiver.secrets, {
    ...{ id: delivery.webhookId, timestamp, body: payload.body },
  });
  const headers = {
    ...payload.headers,
    ...(payload.contentType !== undefined && { "content-type": payload.contentType }),
    ...signature,
    ...numbering(delivery),
  };
  const { origin, pathname, search } = new URL(url);
  return {
    // What others of the organisation call waits for no webhook, and no endpoint for another one.
    ...{ share: `webhooks/${orgId}`, lane: endpointId },
    ...{ baseUrl: origin, method: "POST", path: pathname, query: queryOf(search) },
    ...{ headers, body: payload.body, credential: ownHeaders(receiver, origin, headers) },
    ...{ timeoutMs, headOnly: true },
  };
}

/** An endpoint's own headers may be its password for us, so they go out as credentials do. None replaces one of ours. */
function ownHeaders({ headers }: Receiver, boundTo: string, ours: Readonly<Record<string, string>>) {
  return {
    boundTo,
    reveal() {
      const own = Object.entries(headers).filter(([name]) => !(name.toLowerCase() in ours));
      const texts = own.map(([name, value]) => [name.toLowerCase(), value.reveal().toString()]);
      const shown = Object.fromEntries(texts) as Record<string, string>;
      return { headers: shown, query: {}, cookies: {}, body: {}, secrets: [] };
    },
  };
}

/** From these a receiver sees what it missed, and where the event has been before. */
function numbering({ event, attempt, previous, redelivery }: Delivery): Record<string, string> {
  const { log, seq } = event;
  return {
    "x-qe-sequence": `${log}:${seq}`,
    "x-qe-previous": previousOf(event, previous),
    "x-qe-attempt": String(attempt),
    "x-qe-hops": String(hopsOf(event)),
    ...(redelivery && { "x-qe-redelivery": "true" }),
  };
}

function queryOf(search: string): [name: string, value: string, form: "encoded"][] {
  if (search === "") return [];
  return search
    .slice(1)
    .split("&")
    .map((pair) => {
      const at = pair.indexOf("=");
      return at === -1 ? [pair, "", "encoded"] : [pair.slice(0, at), pair.slice(at + 1), "encoded"];
    });
}

function outcomeOf(
  reply: { status: number; headers: Record<string, string> },
  latencyMs: number,
  now: Date,
): Omit<Outcome, "answerType"> {
  const { status, headers } = reply;
  const ok = status >= 200 && status < 300;
  const pauseMs = retryAfterMs(headers["retry-after"], now);
  return {
    ...{ ok, status, latencyMs },
    stage: ok ? undefined : "HTTP",
    answerBytes: bytesOf(headers["content-length"]),
    retryAfterMs: ok || pauseMs === undefined ? undefined : Math.min(pauseMs, maxRetryAfterMs),
  };
}

/** The media type of an answer. A receiver may say there what its headers hold, and the type is shown to others. */
async function shownType(contentType = "", { headers }: Receiver): Promise<string | undefined> {
  const type = /^[\w.+-]+\/[\w.+-]+/.exec(contentType)?.[0].slice(0, 100);
  if (type === undefined) return undefined;
  const words = Object.values(headers).flatMap((value) => value.reveal().toString().split(" "));
  const own = words.filter((word) => word.length >= 8);
  return (await reflects([Buffer.from(contentType)], own)) ? undefined : type;
}

function bytesOf(length: string | undefined): number | undefined {
  return length !== undefined && /^\d{1,9}$/.test(length) ? Number(length) : undefined;
}

function nothingOf({ reason, metadata }: ServiceError) {
  const { stage, upstream_status: status } = metadata;
  return {
    status: status === undefined ? undefined : Number(status),
    stage: reason === "ADDRESS_DENIED" ? "ADDRESS" : (stages.find((known) => known === stage) ?? "REQUEST"),
    ...{ answerType: undefined, answerBytes: undefined, retryAfterMs: undefined },
  } as const;
}

const stages: readonly Stage[] = ["QUEUE", "DNS", "TCP", "TLS", "HTTP"];
