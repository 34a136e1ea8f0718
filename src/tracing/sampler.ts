import { trace, TraceFlags } from "@opentelemetry/api";
import { SamplingDecision, TraceIdRatioBasedSampler, type Sampler } from "@opentelemetry/sdk-trace";

/**
 * Records this part of all traces, and none that its caller does not record. A caller's wish to have one recorded is
 * not enough: otherwise any client could turn tracing on for a deployment that records one trace of a hundred. The
 * choice is made by the trace's id, so that services with the same percentage choose the same traces.
 */
export function createSampler(percent: number): Sampler {
  const share = new TraceIdRatioBasedSampler(percent / 100);
  return {
    shouldSample(context, traceId) {
      const parent = trace.getSpanContext(context);
      if (parent !== undefined && (parent.traceFlags & TraceFlags.SAMPLED) === 0) {
        return { decision: SamplingDecision.NOT_RECORD };
      }
      // The parts of a request of ours share its fate.
      if (parent?.isRemote === false) return { decision: SamplingDecision.RECORD_AND_SAMPLED };
      return share.shouldSample(context, traceId);
    },
    toString: () => `${percent} %`,
  };
}
