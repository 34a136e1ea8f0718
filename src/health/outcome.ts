import type { ProbeResult } from "#src/connections/probe.ts";
import type { ProbeOutcome } from "./store.ts";

/** What is kept of a probe's result. */
export function outcomeOf(
  result: ProbeResult,
): Pick<ProbeOutcome, "stage" | "error" | "latencyMs" | "answered" | "certificateExpiresAt"> {
  const { status, certificateExpiresAt } = result;
  const answer = { answered: status !== undefined, certificateExpiresAt };
  if (result.ok) return { ...answer, stage: undefined, error: undefined, latencyMs: result.latencyMs };
  return { ...answer, stage: result.stage, error: result.message, latencyMs: undefined };
}
