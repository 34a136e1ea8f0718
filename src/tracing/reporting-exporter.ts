import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Log } from "#src/platform/log.ts";

/** The same exporter, which says once that the receiver is away, and once that it is back. */
export function reportingExporter(
  exporter: SpanExporter,
  counts: { taken: number; lost: number },
  log: Log,
): SpanExporter {
  let isAway = false;

  function report(error: Error | undefined, spans: readonly ReadableSpan[]): void {
    const isTaken = error === undefined;
    counts[isTaken ? "taken" : "lost"] += spans.length;
    if (isTaken === !isAway) return;
    isAway = !isTaken;
    if (isTaken) log.info("traces are taken again");
    else log.warn({ problem: problemOf(error) }, "the receiver of traces takes none; they are lost for now");
  }

  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        report(result.error, spans);
        done(result);
      });
    },
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}

/**
 * A code, such as ECONNREFUSED or 401: its message may hold what the receiver answered. What has no code says that there
 * was no answer in time, or that the receiver wants to be asked later, in words of the exporter.
 */
function problemOf({ code, message }: Error & { readonly code?: unknown }): string {
  return typeof code === "string" || typeof code === "number" ? String(code) : message;
}
