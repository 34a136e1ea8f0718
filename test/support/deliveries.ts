import type { LoggedEvent } from "#src/eventlog/event.ts";
import { Secret } from "#src/platform/secret.ts";
import type { Delivery, Receiver } from "#src/webhooks/delivery.ts";

/** An event of a channel's log, with as much as a test cares for. */
export function loggedEvent(parts: Partial<LoggedEvent> = {}): LoggedEvent {
  return {
    ...{ orgId: "org_1", log: "chn_1", seq: 42, receivedAt: new Date("2026-11-29T10:00:00Z") },
    ...{ id: "e1", source: "/bank", type: "payment.made", types: ["payment.made"], verified: "stripe" },
    ...{ contentType: "application/json", extensions: {}, data: Buffer.from('{"amount":1.0}') },
    ...parts,
  };
}

/** An event that goes out for the first time. */
export function delivery(event: LoggedEvent, parts: Partial<Delivery> = {}): Delivery {
  const webhookId = `${event.log}.${event.seq}`;
  return { event, type: event.type, webhookId, attempt: 1, previous: null, redelivery: false, ...parts };
}

/** An endpoint at the URL. Its secret is 32 bytes of 7. */
export function receiver(url: string, parts: Partial<Receiver> = {}): Receiver {
  return {
    ...{
      orgId: "org_1",
      endpointId: "whe_1",
      url,
      body: "webhook",
      contentType: "application/json",
      headers: {},
    },
    secrets: { current: secretOf(7), previous: undefined },
    ...parts,
  };
}

export function secretOf(byte: number): Secret {
  return new Secret(Buffer.alloc(32, byte));
}
