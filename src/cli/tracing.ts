import type { Config } from "#src/config/config.ts";
import type { Log } from "#src/platform/log.ts";
import type { Tracing } from "#src/platform/tracing.ts";
import { version } from "./version.ts";

/** Traces, if the settings name a receiver. Its code is loaded only then. */
export async function openTracing(
  { otlpEndpoint: endpoint, tracePercent: percent, environment }: Config,
  log: Log,
): Promise<Tracing | undefined> {
  if (endpoint === undefined) return undefined;
  const { createOtlpTracing } = await import("#src/tracing/otlp.ts");
  return createOtlpTracing({ endpoint, percent, environment, version: version(), log });
}
