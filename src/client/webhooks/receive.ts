import { BodyTooLong, piecesOf, readBody } from "./body.ts";
import { deliveryOf, type Format, MalformedDelivery } from "./delivery.ts";
import { InOrder, type OnEvent } from "./in-order.ts";
import { type EventReader, type Lost, Missed } from "./missed.ts";
import { bodyOf, headersOf, type NodeRequest, type NodeResponse } from "./node.ts";
import type { PositionStore } from "./positions.ts";
import { verifyWebhook, WrongSignature } from "./verify.ts";

/** What receiving webhooks needs. */
export interface ReceiveWebhooksOptions<Tx> {
  /**
   * The secrets of the endpoint, `whsec_…`: one, or two while it is replaced. A function is asked for each delivery, so
   * that a replaced secret is picked up.
   */
  readonly secrets: readonly string[] | (() => readonly string[] | Promise<readonly string[]>);
  /** Where missed events are fetched from: `events` of a client whose key may see them. */
  readonly events: EventReader;
  /** The types that the endpoint selects. */
  readonly types: readonly string[];
  /** How far each log was handed over. */
  readonly positions: PositionStore<Tx>;
  /** Called for each event, once and in the order of its log. If it throws, the event comes again. */
  readonly onEvent: OnEvent<Tx>;
  /** Told why a delivery of Patchbay was not taken; it comes again. Strangers are refused without a word. */
  readonly onError: (error: unknown) => void;
  /** Told of events that were missed and are no longer kept. Without it, the deliveries behind them are refused. */
  readonly onLost?: (lost: Lost, tx: Tx) => void | Promise<void>;
  /** The `format` of the endpoint; `json` if it is left out. */
  readonly format?: Format;
  /** Of a body; 16 MiB if it is left out. */
  readonly maxBytes?: number;
  /** How long the first delivery of a log waits for those that were sent before it; 5 s if it is left out. */
  readonly startWaitMs?: number;
}

/** Takes the deliveries of an endpoint, on any server. */
export interface WebhookReceiver {
  /** For servers that speak `fetch`. */
  fetch(request: Request): Promise<Response>;
  /** For node:http, and for Express in front of what parses bodies. */
  node(request: NodeRequest, response: NodeResponse): Promise<void>;
}

/**
 * Receives webhooks of Patchbay: verifies them, drops what came before, notices what is missing, fetches that, and
 * hands over each event once and in order.
 */
export function receiveWebhooks<Tx>(options: ReceiveWebhooksOptions<Tx>): WebhookReceiver {
  const { secrets, events, types, onError, format = "json" } = options;
  const { maxBytes = 16 * 1024 * 1024, startWaitMs = 5_000 } = options;
  const inOrder = new InOrder({ ...options, missed: new Missed(events, types), startWaitMs });

  async function take(
    method: string | undefined,
    headers: Headers,
    read: () => Promise<Uint8Array<ArrayBuffer>>,
  ) {
    if (method !== "POST") return refusal(405, "webhooks come by POST", { allow: "POST" });
    try {
      const request = { headers, body: await read() };
      const known = typeof secrets === "function" ? await secrets() : secrets;
      const webhookId = await verifyWebhook(request, known, new Date());
      const delivery = deliveryOf(request, webhookId, format);
      if (delivery !== undefined) await inOrder.take(delivery);
      return { status: 204, headers: {} };
    } catch (error) {
      return refused(error, onError);
    }
  }

  return {
    async fetch(request) {
      const { status, headers, body } = await take(request.method, request.headers, () =>
        readBody(piecesOf(request.body), maxBytes),
      );
      return new Response(body ?? null, { status, headers });
    },
    async node(request, response) {
      const answer = await take(request.method, headersOf(request), () => bodyOf(request, maxBytes));
      response.writeHead(answer.status, answer.headers);
      response.end(answer.body);
    },
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body?: string;
}

function refused(error: unknown, onError: (error: unknown) => void): Answer {
  if (error instanceof WrongSignature) return refusal(401, error.message);
  if (error instanceof BodyTooLong) return refusal(413, error.message, { connection: "close" });
  onError(error);
  if (error instanceof MalformedDelivery) return refusal(400, error.message);
  // Why is for the log of this service, not for the one that sends.
  return refusal(503, "not taken; send it again");
}

function refusal(status: number, error: string, headers: Record<string, string> = {}): Answer {
  return {
    status,
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ error }),
  };
}
