import type { Meter } from "#src/platform/meter.ts";
import type { Deliver } from "./delivery.ts";

/**
 * The same, and counts what became of deliveries, and how late first tries are. The delay is what a backlog does to
 * receivers: it grows whatever the reason, and needs no look at all logs to be known.
 */
export function countDeliveries(
  deliver: Deliver,
  { meter, now }: { readonly meter: Meter; readonly now: () => Date },
): Deliver {
  const count = meter.counter({
    name: "patchbay_webhook_deliveries_total",
    help: "Tries to deliver an event to an endpoint: delivered, or the stage at which it failed.",
    labels: ["outcome"],
  });
  const delay = meter.duration({
    name: "patchbay_webhook_delay_seconds",
    help: "From the storing of an event to the first try to deliver it.",
    labels: [],
  });
  let underWay = 0;
  meter.gauge({
    name: "patchbay_webhook_deliveries_under_way",
    help: "Tries to deliver an event that wait for the endpoint's answer now.",
    read: () => underWay,
  });

  return async (receiver, delivery, signal) => {
    const { attempt, redelivery, event } = delivery;
    if (attempt === 1 && !redelivery) {
      delay({}, Math.max(0, now().getTime() - event.receivedAt.getTime()) / 1000);
    }
    underWay += 1;
    try {
      const outcome = await deliver(receiver, delivery, signal);
      count({ outcome: outcome.stage ?? "delivered" });
      return outcome;
    } finally {
      underWay -= 1;
    }
  };
}
