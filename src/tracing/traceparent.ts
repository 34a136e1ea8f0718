import { TraceFlags, type SpanContext } from "@opentelemetry/api";

const form = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** The caller's span, as it names it; undefined for what is no `traceparent`, which begins a new trace. */
export function readTraceparent(text: string | undefined): SpanContext | undefined {
  const [, traceId = "", spanId = "", flags = "", more] = form.exec(text ?? "") ?? [];
  // The first version has exactly these parts; later ones may have more behind them.
  if (more !== undefined && text?.startsWith("00-") === true) return undefined;
  if (!/[1-9a-f]/.test(traceId) || !/[1-9a-f]/.test(spanId)) return undefined;
  // Of the flags, one is known: the others are not passed on.
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true };
}

/** The same text for a span of ours. */
export function writeTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}
