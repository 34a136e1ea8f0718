import type { Meter } from "#src/platform/meter.ts";

/** What operators are told of the sweep. */
export interface SweepMetrics {
  /** A probe ended: `healthy`, at the stage that failed, `late` if it was left out, or `error` if it failed here. */
  probed(outcome: string): void;
  /** The table was asked for what is due. */
  looked(): void;
}

export function createSweepMetrics(parts: {
  meter: Meter;
  now: () => Date;
  monotonicNow: () => number;
  /** Since when the probe was due that has waited longest, of those that this replica has claimed. */
  oldestDue: () => Date | undefined;
  /** How many it has claimed. */
  waiting: () => number;
}): SweepMetrics {
  const { meter, now, monotonicNow, oldestDue, waiting } = parts;
  let lookedAtMs = monotonicNow();

  const probes = meter.counter({
    name: "patchbay_health_probes_total",
    help: "Probes by outcome: healthy, the stage that failed, late (left out for this period), or error (ours).",
    labels: ["outcome"],
  });
  meter.gauge({
    name: "patchbay_health_probes_claimed",
    help: "Probes that this process has claimed and not ended.",
    read: waiting,
  });
  meter.gauge({
    name: "patchbay_health_sweep_lag_seconds",
    ofWorkers: "max",
    help: "How long the oldest claimed probe is overdue, or since when nothing was asked for, whichever is more.",
    read() {
      const oldest = oldestDue();
      const overdueMs = oldest === undefined ? 0 : now().getTime() - oldest.getTime();
      return Math.max(0, overdueMs, monotonicNow() - lookedAtMs) / 1_000;
    },
  });

  return {
    probed: (outcome) => probes({ outcome }),
    looked: () => (lookedAtMs = monotonicNow()),
  };
}
