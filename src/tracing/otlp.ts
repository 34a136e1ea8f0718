import { randomUUID } from "node:crypto";
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Span as OtelSpan,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider, type SpanProcessor } from "@opentelemetry/sdk-trace";
import { ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import type { Facts, Span, Tracing } from "#src/platform/tracing.ts";
import { within } from "#src/platform/within.ts";
import { reportingExporter } from "./reporting-exporter.ts";
import { createSampler } from "./sampler.ts";
import { readTraceparent, writeTraceparent } from "./traceparent.ts";

const kinds = { client: SpanKind.CLIENT, internal: SpanKind.INTERNAL };

/** Spans that wait for the receiver. What comes when they are all there is lost, and takes no memory. */
const maxWaiting = 4_096;
/** So few that writing them down holds the event loop for a few milliseconds. */
const atOnce = 256;
const timeoutMs = 5_000;
const closeMs = 1_000;

/** Sends spans to an OTLP receiver, as protobuf over HTTP. Nothing is registered globally. */
export function createOtlpTracing(parts: {
  /** Without `/v1/traces`. */
  endpoint: string;
  /** How many of a hundred traces are recorded. */
  percent: number;
  environment: string;
  version: string;
  log: Log;
  /** How long spans wait for others to be sent with. */
  everyMs?: number;
}): Tracing {
  const { endpoint, percent, environment, version, log, everyMs = 2_000 } = parts;
  const counts = { ended: 0, taken: 0, lost: 0 };
  const url = `${endpoint.replace(/\/$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({
    url,
    timeoutMillis: timeoutMs,
    // All that waits, and one that is under way: at a stop they are sent together.
    concurrencyLimit: maxWaiting / atOnce + 1,
  });
  const provider = new TracerProvider({
    sampler: createSampler(percent),
    resource: resourceFromAttributes({
      "service.name": "patchbay",
      "service.version": version,
      "service.instance.id": randomUUID(),
      "deployment.environment.name": environment,
    }),
    spanLimits: { attributeValueLengthLimit: 256, attributeCountLimit: 32 },
    spanProcessors: [
      countingProcessor(counts),
      new BatchSpanProcessor({
        exporter: reportingExporter(exporter, counts, log),
        maxQueueSize: maxWaiting,
        maxExportBatchSize: atOnce,
        scheduledDelayMillis: everyMs,
      }),
    ],
  });
  const tracer = provider.getTracer("patchbay");
  const contexts = new AsyncLocalStorageContextManager().enable();

  async function recorded<T>(
    kind: "client" | "internal",
    name: string,
    work: (span: Span | undefined) => Promise<T>,
  ): Promise<T> {
    const span = tracer.startSpan(name, { kind: kinds[kind] }, contexts.active());
    try {
      return await contexts.with(trace.setSpan(contexts.active(), span), () => work(shownSpan(span)));
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      // Its name or its reason. The message may hold what another side said.
      span.setAttribute("error.type", errorType(error));
      throw error;
    } finally {
      span.end();
    }
  }

  return {
    counts,

    serve(traceparent) {
      const caller = readTraceparent(traceparent);
      const parent: Context =
        caller === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, caller);
      const span = tracer.startSpan("request", { kind: SpanKind.SERVER }, parent);
      return {
        traceId: span.spanContext().traceId,
        run: (work) => contexts.with(trace.setSpan(parent, span), work),
        end(name, facts, isFault) {
          span.updateName(name);
          span.setAttributes(known(facts));
          if (isFault) span.setStatus({ code: SpanStatusCode.ERROR });
          span.end();
        },
      };
    },

    async part(kind, name, work) {
      const active = trace.getSpan(contexts.active());
      if (active === undefined) return await work(undefined);
      if (active.isRecording()) return await recorded(kind, name, work);
      // Its request was answered: whatever still goes on, such as work that others wait for, is no part of it.
      if ((active.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0) return await work(undefined);
      // Not recorded. Whoever is called is told, so that it does not record a part of nothing either.
      return await work(shownSpan(active));
    },

    async close() {
      await within(closeMs, provider.shutdown(), () => new Error("the receiver of traces is away")).catch(
        () => undefined,
      );
    },
  };
}

function shownSpan(span: OtelSpan): Span {
  return {
    traceparent: writeTraceparent(span.spanContext()),
    note: (facts: Facts) => void span.setAttributes(known(facts)),
  };
}

function known(facts: Facts): Attributes {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}

function countingProcessor(counts: { ended: number }): SpanProcessor {
  return {
    onStart: () => undefined,
    onEnd: () => void counts.ended++,
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  };
}

function errorType(error: unknown): string {
  if (error instanceof ServiceError) return error.reason;
  return error instanceof Error ? error.name : "unknown";
}
