import type { Event } from "#gen/patchbay/events/v1/event_pb.js";
import { binaryEvent, documentEvent } from "./document.ts";

/** One event as it was delivered. */
export interface Delivery {
  readonly event: Event;
  readonly log: string;
  readonly seq: number;
  /** The event before it that this endpoint gets; undefined where a chain begins. */
  readonly previous: number | undefined;
  /** Whether it was asked for once more, under an id of its own, by whoever wants it handled again. */
  readonly isAskedForAgain: boolean;
}

/** What was signed is no delivery: another sender holds the secret, or a proxy changed the headers. */
export class MalformedDelivery extends Error {
  override readonly name = "MalformedDelivery";
}

/** What the endpoint is sent. */
export type Format = "json" | "cloudevents" | "binary";

/**
 * Reads a request whose signature is right. `webhookId` is what was signed: nothing else gives an event its number.
 * Undefined for the ping by which an endpoint is tested, which is no event of a log.
 */
export function deliveryOf(
  request: { headers: Headers; body: Uint8Array },
  webhookId: string,
  format: Format,
): Delivery | undefined {
  const { headers } = request;
  const read = readEvent(request, format);
  const { qeprevious, ...extensions } = read.extensions;
  const event = { ...read, extensions };
  const { log, seq } = event;
  // Others may call their events so, but not in this log.
  if (log === "service" && event.type === "webhook.ping") return undefined;
  // In the format `binary`, no more than the data and the id is signed.
  const said = format === "binary" ? headers.get("x-qe-previous") : qeprevious;
  const [, before, previous] = /^([\w-]{1,64}):(\d{1,15}|-)$/.exec(said ?? "") ?? [];
  if (before !== log)
    throw new MalformedDelivery("the delivery does not say which event of its log was sent before");
  const isOwnId = webhookId === `${log}.${seq}`;
  if (!isOwnId && headers.get("x-qe-redelivery") !== "true") {
    throw new MalformedDelivery("the event's number is not what webhook-id says");
  }
  return {
    ...{ event, log, seq: Number(seq) },
    previous: previous === "-" ? undefined : Number(previous),
    isAskedForAgain: !isOwnId,
  };
}

function readEvent({ headers, body }: { headers: Headers; body: Uint8Array }, format: Format): Event {
  try {
    // Never by what a header says: headers are not signed, and would put other attributes in the place of those that are.
    return format === "binary" ? binaryEvent(headers, body) : documentEvent(body);
  } catch (error) {
    throw new MalformedDelivery(
      "the body is no event of Patchbay; give the format of the endpoint, and let nothing in between change the body",
      { cause: error },
    );
  }
}
