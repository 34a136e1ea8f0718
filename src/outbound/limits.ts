import type { CallSlotLimits } from "./call-slots.ts";

/** How long and how much a call may take, and how many there may be. */
export interface OutboundLimits extends CallSlotLimits {
  /** Until the connection is established, TLS included. */
  readonly connectMs: number;
  /** From the request to the answer's headers. */
  readonly headersMs: number;
  /** Between two pieces of the answer's body. */
  readonly idleMs: number;
  /** For the whole call. */
  readonly totalMs: number;
  /** How long a streamed call may wait for its slot. */
  readonly streamPatienceMs: number;
  /** Of a streamed call: in which neither side sends anything, its wait for the answer's head included. */
  readonly streamIdleMs: number;
  /** For the request's body, and for the answer's, both before and after it is inflated. */
  readonly bodyBytes: number;
  /** For the answer's headers. */
  readonly headerBytes: number;
  /** Beyond this many, idle sockets are closed. */
  readonly sockets: number;
}

/** What a call may take where nothing else is said. */
export const defaultLimits: OutboundLimits = {
  connectMs: 5_000,
  headersMs: 30_000,
  idleMs: 30_000,
  totalMs: 60_000,
  streamPatienceMs: 30_000,
  streamIdleMs: 300_000,
  bodyBytes: 10 * 1024 * 1024,
  headerBytes: 16 * 1024,
  callsPerOrigin: 64,
  callsPerShare: 256,
  waitingCalls: 1_000,
  waitingBytes: 64 * 1024 * 1024,
  sockets: 1_024,
};
