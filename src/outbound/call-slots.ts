import { createTally, type Tally } from "#src/platform/tally.ts";
import { TooManyCalls } from "./errors.ts";

/** How many calls of one share may be under way and may wait. Shares do not affect each other. */
export interface CallSlotLimits {
  /** Under way at once to one origin. */
  readonly callsPerOrigin: number;
  /** Under way at once in all. */
  readonly callsPerShare: number;
  readonly waitingCalls: number;
  /** The most bytes of all bodies that wait. */
  readonly waitingBytes: number;
}

/** A call that is to begin. */
export interface Applicant {
  readonly share: string;
  readonly origin: string;
  readonly host: string;
  /** The bytes of its body, which is held while it waits. */
  readonly bytes: number;
  /** Its reason is thrown when it aborts before it has a slot. */
  readonly signal: AbortSignal;
}

/** Gives each share its own slots, in the order of its calls; a call to a full origin holds up no other. */
export interface CallSlots {
  /** Resolves when the call may begin. Dispose of the slot when the call has ended. Throws TooManyCalls. */
  take(call: Applicant): Promise<Disposable>;
  /** The same, if the call need not wait. */
  takeFree(call: Omit<Applicant, "signal">): Disposable | undefined;
}

interface Share {
  running: number;
  readonly runningTo: Tally;
  readonly waiting: Set<Waiting>;
  waitingBytes: number;
}

interface Waiting {
  readonly call: Applicant;
  readonly start: () => void;
}

export function createCallSlots(limits: CallSlotLimits): CallSlots {
  const shares = new Map<string, Share>();

  function shareOf(key: string): Share {
    const known = shares.get(key);
    if (known !== undefined) return known;
    const share: Share = { running: 0, runningTo: createTally(), waiting: new Set(), waitingBytes: 0 };
    shares.set(key, share);
    return share;
  }

  function mayStart(share: Share, { origin }: Pick<Applicant, "origin">): boolean {
    return share.running < limits.callsPerShare && share.runningTo.of(origin) < limits.callsPerOrigin;
  }

  function start(share: Share, call: Pick<Applicant, "share" | "origin">): Disposable {
    share.running++;
    share.runningTo.add(call.origin, 1);
    return { [Symbol.dispose]: () => end(share, call) };
  }

  function end(share: Share, { share: key, origin }: Pick<Applicant, "share" | "origin">): void {
    share.running--;
    share.runningTo.add(origin, -1);
    // One slot became free, so at most one call can begin.
    for (const next of share.waiting) {
      if (!mayStart(share, next.call)) continue;
      next.start();
      break;
    }
    if (share.running === 0) shares.delete(key);
  }

  function wait(share: Share, call: Applicant): Promise<Disposable> {
    if (share.waiting.size >= limits.waitingCalls || share.waitingBytes + call.bytes > limits.waitingBytes) {
      throw new TooManyCalls(call.host);
    }
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    const leave = (): void => {
      share.waiting.delete(waiting);
      share.waitingBytes -= call.bytes;
      call.signal.removeEventListener("abort", giveUp);
    };
    const giveUp = (): void => {
      leave();
      reject(call.signal.reason as Error);
    };
    const waiting: Waiting = {
      call,
      start() {
        leave();
        resolve(start(share, call));
      },
    };
    share.waiting.add(waiting);
    share.waitingBytes += call.bytes;
    call.signal.addEventListener("abort", giveUp, { once: true });
    return promise;
  }

  return {
    takeFree(call) {
      const share = shareOf(call.share);
      return mayStart(share, call) ? start(share, call) : undefined;
    },
    async take(call) {
      call.signal.throwIfAborted();
      const share = shareOf(call.share);
      return mayStart(share, call) ? start(share, call) : await wait(share, call);
    },
  };
}
