import type { Meter } from "#src/platform/meter.ts";
import { QuotaExhausted } from "./errors.ts";
import type { Accepted } from "./intake.ts";

/** Counts what comes in, from when it came until it is stored or refused. */
export interface IntakeCounts {
  arrived(events: number): Disposable & {
    stored(accepted: readonly Pick<Accepted, "isNew">[]): void;
    refused(error: unknown): void;
  };
}

/** Declares what operators see of the events that come in. */
export function createIntakeCounts(meter: Meter): IntakeCounts {
  const count = meter.counter({
    name: "patchbay_events_received_total",
    help: "Events that came for channels: new, known, not stored, or without room in the quota.",
    labels: ["outcome"],
    awaited: [{ outcome: "not_stored" }, { outcome: "no_room" }],
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
      waiting += events;
      return {
        stored(accepted) {
          const fresh = accepted.filter(({ isNew }) => isNew).length;
          if (fresh > 0) count({ outcome: "new" }, fresh);
          if (accepted.length > fresh) count({ outcome: "known" }, accepted.length - fresh);
        },
        // What an organisation has no room for is its own matter, and nothing to wake an operator for.
        refused(error) {
          count({ outcome: error instanceof QuotaExhausted ? "no_room" : "not_stored" }, events);
        },
        [Symbol.dispose]() {
          waiting -= events;
          seconds({}, (performance.now() - began) / 1000);
        },
      };
    },
  };
}
