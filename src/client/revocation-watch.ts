import { setTimeout as delay } from "node:timers/promises";
import type { WatchRevocationsResponse } from "#gen/patchbay/verification/v1/verification_service_pb.js";

/** Listens, as long as it is open, for keys that changed. */
export interface RevocationWatch {
  /** Begins to listen; called again, it does nothing. */
  open(): void;
  /** Whether no change can have gone unheard, except in these last moments. */
  isHearing(): boolean;
  /** Whether the last word came within that time, even if the stream is broken since. */
  heardWithin(milliseconds: number): boolean;
  close(): void;
}

/** There is a message each second; without one for so long, something was missed. */
export const silenceMs = 3_000;
const firstPauseMs = 100;
const longestPauseMs = 5_000;
/** A restart of Patchbay is no news; a stream that never comes about is. */
const failuresUntilTold = 3;

export function createRevocationWatch(parts: {
  listen: (signal: AbortSignal) => AsyncIterable<WatchRevocationsResponse>;
  heard: (message: WatchRevocationsResponse) => void;
  /** Is told that there was no word for too long, before the stream is given up. */
  fellSilent: () => void;
  /** Is told of a stream that broke, and how many did in a row without a word. */
  broke: (error: unknown, isNews: boolean) => void;
  monotonicNow: () => number;
}): RevocationWatch {
  const { listen, heard, fellSilent, broke, monotonicNow } = parts;
  const closing = new AbortController();
  const isClosed = () => closing.signal.aborted;
  let opened = false;
  /** True from the message on that says to forget everything. */
  let complete = false;
  let heardAt = -Infinity;
  let failures = 0;

  async function listenOnce(): Promise<void> {
    const silence = new AbortController();
    // A stream that is cut without a sign would never end by itself.
    const timer = setTimeout(() => {
      fellSilent();
      silence.abort(new Error("no word for too long"));
    }, silenceMs).unref();
    try {
      for await (const message of listen(AbortSignal.any([closing.signal, silence.signal]))) {
        if (isClosed()) return;
        timer.refresh();
        failures = 0;
        // First forget, then trust what is left.
        heard(message);
        complete ||= message.forgetAll;
        // Until then, it says nothing of what went unheard before.
        if (complete) heardAt = monotonicNow();
      }
    } finally {
      clearTimeout(timer);
      complete = false;
    }
  }

  async function listenOn(): Promise<void> {
    while (!isClosed()) {
      let error: unknown;
      await listenOnce().catch((thrown: unknown) => (error = thrown));
      if (isClosed()) return;
      failures += 1;
      broke(error, failures === failuresUntilTold);
      const pause = Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1));
      // Spread, or all guards would come back to a restarted Patchbay at the same instant.
      await delay(pause * (0.5 + Math.random() / 2), undefined, { ref: false });
    }
  }

  return {
    open() {
      if (opened) return;
      opened = true;
      void listenOn();
    },
    isHearing: () => complete && monotonicNow() - heardAt <= silenceMs,
    heardWithin: (milliseconds) => monotonicNow() - heardAt < milliseconds,
    close() {
      closing.abort();
      complete = false;
      heardAt = -Infinity;
    },
  };
}
