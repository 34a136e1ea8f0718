import type { Deadline } from "#src/pipeline/lane.ts";
import { malformedRequest } from "./framework-failure.ts";

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** How many milliseconds a `grpc-timeout` asks for; undefined if it is malformed. */
function grpcTimeoutMs(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * (unitMs[unit] ?? 0);
}

/** How many milliseconds a `connect-timeout-ms` asks for; undefined if it is malformed. */
function connectTimeoutMs(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** The deadline that a caller asks for, which is never later than the most. */
export function deadlineOf(protocol: "connect" | "grpc", text: string | undefined, mostMs: number): Deadline {
  if (text === undefined) return { timeoutMs: mostMs };
  const askedMs = protocol === "grpc" ? grpcTimeoutMs(text) : connectTimeoutMs(text);
  if (askedMs !== undefined) return { timeoutMs: Math.min(askedMs, mostMs) };
  // More digits than the protocol has room for are many milliseconds all the same.
  if (protocol === "connect" && /^\d{11,}$/.test(text)) return { timeoutMs: mostMs };
  const message = `protocol error: invalid ${protocol} timeout value: ${text}`;
  return { timeoutMs: mostMs, fault: malformedRequest(message) };
}
