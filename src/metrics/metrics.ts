import { collectDefaultMetrics, Counter, Histogram, Registry } from "prom-client";
import type { AnsweredRequest } from "#src/net/access-log.ts";

/** What the service counts for its operators. None of it names an organisation, a key or a path. */
export interface Metrics {
  requestAnswered(request: AnsweredRequest): void;
  /** A call was limited by this replica alone, since the shared limits were away. */
  readonly rateLimitFellBack: () => void;
  /** Watches the process as well, from now on. */
  watchProcess(): void;
  /** All of it, as Prometheus reads it. */
  render(): Promise<{ readonly type: string; readonly text: string }>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: "patchbay_requests_total",
    help: "Requests by RPC and protocol; status is that of gRPC for gRPC, else that of HTTP, or cut.",
    labelNames: ["rpc", "protocol", "status"],
    registers,
  });
  const durations = new Histogram({
    name: "patchbay_request_duration_seconds",
    help: "From the headers of a request to the end of its answer.",
    labelNames: ["rpc", "protocol"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 60],
    registers,
  });
  const fallbacks = new Counter({
    name: "patchbay_rate_limit_fallbacks_total",
    help: "Calls that this replica limited by itself, since the shared rate limits could not be reached.",
    registers,
  });

  return {
    // Only names of RPCs that exist become labels: clients can make up any number of paths.
    requestAnswered({ rpc = "none", protocol = "none", status, grpcStatus, cut, latencyMs }) {
      requests.inc({ rpc, protocol, status: cut ? "cut" : (grpcStatus ?? status ?? "none") });
      durations.observe({ rpc, protocol }, latencyMs / 1000);
    },
    rateLimitFellBack: () => fallbacks.inc(),
    watchProcess: () => collectDefaultMetrics({ register: registry }),
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  };
}
