import type { Event } from "#gen/patchbay/events/v1/event_pb.js";
import { eventOf } from "./document.ts";

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

/**
 * Reads a request whose signature is right. `webhookId` is what was signed: nothing else gives an event its number.
 * Undefined for the ping by which an endpoint is tested, which is no event of a log.
 */
export function deliveryOf(
  request: { headers: Headers; body: Uint8Array },
  webhookId: string,
): Delivery | undefined {
  const { headers } = request;
  const event = readEvent(request);
  // Others may call their events so, but not in this log.
  if (event.log === "service" && event.type === "webhook.ping") return undefined;
  const [, log, number] = /^([\w-]{1,64}):(\d{1,15})$/.exec(headers.get("x-qe-sequence") ?? "") ?? [];
  const [, before, previous] = /^([\w-]{1,64}):(\d{1,15}|-)$/.exec(headers.get("x-qe-previous") ?? "") ?? [];
  if (log === undefined || before !== log) {
    throw new MalformedDelivery("x-qe-sequence and x-qe-previous must name a log with a number each");
  }
  const isOwnId = webhookId === `${log}.${number}`;
  if (!isOwnId && headers.get("x-qe-redelivery") !== "true") {
    throw new MalformedDelivery("x-qe-sequence is not what webhook-id says");
  }
  return {
    ...{ event, log, seq: Number(number) },
    previous: previous === "-" ? undefined : Number(previous),
    isAskedForAgain: !isOwnId,
  };
}

function readEvent(request: { headers: Headers; body: Uint8Array }): Event {
  try {
    return eventOf(request);
  } catch (error) {
    throw new MalformedDelivery("the body is no event of Patchbay", { cause: error });
  }
}
