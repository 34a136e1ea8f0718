import { setTimeout as delay } from "node:timers/promises";
import type { WatchRevocationsResponse } from "#gen/patchbay/verification/v1/verification_service_pb.js";

/** Follows the stream that says which keys changed. */
export interface RevocationWatch {
  /** Opens the stream; called again, it does nothing. */
  open(): void;
  /** Whether the guard knows of all changes, except those of the last moments. */
  isCurrent(): boolean;
  /** Whether the last message came within that time, even if the stream has broken since. */
  heardWithin(milliseconds: number): boolean;
  close(): void;
}

/** There is a message each second; without one for this time, something was missed. */
export const silenceMs = 3_000;
const firstPauseMs = 100;
const longestPauseMs = 5_000;
/** One broken stream is a restart of Patchbay; this many in a row are a problem. */
const failuresUntilReported = 3;

export function createRevocationWatch(parts: {
  watchRevocations: (signal: AbortSignal) => AsyncIterable<WatchRevocationsResponse>;
  onMessage: (message: WatchRevocationsResponse) => void;
  /** Called when there was no message for too long, before the stream is given up. */
  onSilence: () => void;
  /** Called when a stream broke; `isLasting` once this many broke in a row without a message. */
  onFailure: (error: unknown, isLasting: boolean) => void;
  monotonicNow: () => number;
}): RevocationWatch {
  const { watchRevocations, onMessage, onSilence, onFailure, monotonicNow } = parts;
  let opened = false;
  let closed = false;
  const isClosed = () => closed;
  /** Ends the stream that is open. */
  let cancel = (_reason?: Error): void => undefined;
  /** True from the message on that says to forget everything. */
  let complete = false;
  let heardAt = -Infinity;
  let failures = 0;

  async function follow(): Promise<void> {
    const stream = new AbortController();
    cancel = (reason) => stream.abort(reason);
    // A stream that is cut without a sign would never end by itself.
    const timer = setTimeout(() => {
      onSilence();
      cancel(new Error("no message for too long"));
    }, silenceMs).unref();
    try {
      for await (const message of watchRevocations(stream.signal)) {
        if (isClosed()) return;
        timer.refresh();
        failures = 0;
        // First forget, then trust what is left.
        onMessage(message);
        complete ||= message.forgetAll;
        // Until then, changes of before the stream may have been missed.
        if (complete) heardAt = monotonicNow();
      }
    } finally {
      clearTimeout(timer);
      complete = false;
    }
  }

  async function followAgainAndAgain(): Promise<void> {
    while (!isClosed()) {
      let error: unknown;
      await follow().catch((thrown: unknown) => (error = thrown));
      if (isClosed()) return;
      failures += 1;
      onFailure(error, failures === failuresUntilReported);
      const pause = Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1));
      // Spread, or all guards would come back to a restarted Patchbay at the same instant.
      await delay(pause * (0.5 + Math.random() / 2), undefined, { ref: false });
    }
  }

  return {
    open() {
      if (opened) return;
      opened = true;
      void followAgainAndAgain();
    },
    isCurrent: () => complete && monotonicNow() - heardAt <= silenceMs,
    heardWithin: (milliseconds) => monotonicNow() - heardAt < milliseconds,
    close() {
      closed = true;
      cancel();
      complete = false;
      heardAt = -Infinity;
    },
  };
}
