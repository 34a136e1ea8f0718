import {
  AggregatorRegistry,
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  Registry,
  type MetricObjectWithValues,
  type MetricValue,
} from "prom-client";
import type { AnsweredRequest } from "#src/net/access-log.ts";
import type { ReasonName } from "#src/platform/errors.ts";
import type { Meter } from "#src/platform/meter.ts";

/** What one process has measured, as plain data. */
export type Measures = readonly MetricObjectWithValues<MetricValue<string>>[];

/** What the service counts for its operators. None of it names an organisation, a key or a path. */
export interface Metrics extends Meter {
  readonly requestAnswered: (request: AnsweredRequest, failure?: ReasonName) => void;
  /** Watches the process as well, from now on. */
  watchProcess(): void;
  /** All of it, as Prometheus reads it. */
  render(): Promise<RenderedMetrics>;
  /** All of it, to be put together with that of other processes. */
  measure(): Promise<Measures>;
}

/** Metrics as Prometheus reads them. */
export interface RenderedMetrics {
  readonly type: string;
  readonly text: string;
}

/** What several processes have measured, as Prometheus reads it: added up, unless a metric says otherwise. */
export async function renderTogether(measures: readonly Measures[]): Promise<RenderedMetrics> {
  const all = AggregatorRegistry.aggregate([...measures]);
  return { type: all.contentType, text: await all.metrics() };
}

/** What still counts of processes that have ended: a count that went down would look like one that began again. */
export async function keepCounts(measures: readonly Measures[]): Promise<Measures> {
  const all = await AggregatorRegistry.aggregate([...measures]).getMetricsAsJSON();
  // Names at run time, whatever the types of the package say.
  const counts: readonly unknown[] = ["counter", "histogram"];
  return all.filter(({ type }) => counts.includes(type));
}

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 60];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];

  const meter: Meter = {
    counter({ name, help, labels, awaited = [] }) {
      const counter = new Counter({ name, help, labelNames: labels, registers });
      for (const values of awaited) counter.inc(values, 0);
      return (values, by = 1) => counter.inc(values, by);
    },
    total({ name, help, read }) {
      const kept = new Counter({
        name,
        help,
        registers: [],
        collect() {
          kept.reset();
          kept.inc(read());
        },
      });
      registry.registerMetric(kept);
    },
    duration({ name, help, labels, awaited = [] }) {
      const histogram = new Histogram({ name, help, labelNames: labels, buckets, registers });
      for (const values of awaited) histogram.zero(values);
      return (values, seconds) => histogram.observe(values, seconds);
    },
    gauge({ name, help, read, ofWorkers = "sum" }) {
      const gauge = new Gauge({
        name,
        help,
        aggregator: ofWorkers,
        registers: [],
        collect() {
          gauge.set(read());
        },
      });
      registry.registerMetric(gauge);
    },
  };

  const requests = meter.counter({
    name: "patchbay_requests_total",
    help: "Requests by RPC and protocol; status is that of gRPC for gRPC, else that of HTTP, or cut.",
    labels: ["rpc", "protocol", "status"],
  });
  const durations = meter.duration({
    name: "patchbay_request_duration_seconds",
    help: "From the headers of a request to the end of its answer.",
    labels: ["rpc", "protocol"],
  });

  const failures = meter.counter({
    name: "patchbay_failures_total",
    help: "Calls that failed, by the reason that their callers were given.",
    labels: ["reason"],
    awaited: [{ reason: "INTERNAL" }, { reason: "DATABASE_UNAVAILABLE" }],
  });

  return {
    ...meter,
    // Only names of RPCs that exist become labels: clients can make up any number of paths.
    requestAnswered({ rpc = "none", protocol = "none", status, grpcStatus, cut, latencyMs }, failure) {
      requests({ rpc, protocol, status: cut ? "cut" : String(grpcStatus ?? status ?? "none") });
      durations({ rpc, protocol }, latencyMs / 1000);
      if (failure !== undefined) failures({ reason: failure });
    },
    watchProcess: () => collectDefaultMetrics({ register: registry }),
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
    measure: () => registry.getMetricsAsJSON(),
  };
}
