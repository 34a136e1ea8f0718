import type { Measures } from "#src/metrics/metrics.ts";
import { keepCounts, renderTogether, type RenderedMetrics } from "#src/metrics/metrics.ts";

/** What the workers have measured, those that have ended as well. */
export interface Measurements {
  measured(worker: number, measures: Measures): void;
  ended(worker: number): void;
  /** All of it together with what the primary has measured. */
  render(own: Measures): Promise<RenderedMetrics>;
}

/** Nothing is measured yet. */
export function createMeasurements(): Measurements {
  const latest = new Map<number, Measures>();
  let ofEnded: Promise<Measures> = Promise.resolve([]);

  return {
    measured: (worker, measures) => void latest.set(worker, measures),
    ended(worker) {
      const last = latest.get(worker);
      latest.delete(worker);
      if (last !== undefined) ofEnded = ofEnded.then((before) => keepCounts([before, last]));
    },
    render: async (own) => renderTogether([own, await ofEnded, ...latest.values()]),
  };
}
