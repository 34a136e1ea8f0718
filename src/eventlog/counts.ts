import type { Meter } from "#src/platform/meter.ts";
import type { Accepted } from "./intake.ts";

/** Counts what comes in, from when it came until it is stored or refused. */
export interface IntakeCounts {
  arrived(events: number): Disposable & { stored(accepted: readonly Pick<Accepted, "isNew">[]): void };
}

/** Declares what operators see of the events that come in. */
export function createIntakeCounts(meter: Meter): IntakeCounts {
  const count = meter.counter({
    name: "patchbay_events_received_total",
    help: "Events that came for channels: new, known from before, or not stored.",
    labels: ["outcome"],
  });
  const seconds = meter.duration({
    name: "patchbay_event_intake_seconds",
    help: "How long those who send events wait until these are stored or refused.",
    labels: [],
  });
  let waiting = 0;
  meter.gauge({
    name: "patchbay_events_waiting",
    help: "Events that came and are not stored yet.",
    read: () => waiting,
  });

  return {
    arrived(events) {
      const began = performance.now();
      let isStored = false;
      waiting += events;
      return {
        stored(accepted) {
          isStored = true;
          const fresh = accepted.filter(({ isNew }) => isNew).length;
          if (fresh > 0) count({ outcome: "new" }, fresh);
          if (accepted.length > fresh) count({ outcome: "known" }, accepted.length - fresh);
        },
        [Symbol.dispose]() {
          waiting -= events;
          if (!isStored) count({ outcome: "not_stored" }, events);
          seconds({}, (performance.now() - began) / 1000);
        },
      };
    },
  };
}
