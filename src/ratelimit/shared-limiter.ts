import type { Log } from "#src/platform/log.ts";
import type { Budget } from "./gcra.ts";
import type { RateLimiter } from "./limiter.ts";

/** Where replicas count together. A call to it fails fast, and once it was lost it stays lost. */
export interface SharedCounts extends RateLimiter {
  close(): void;
}

/** A limiter that replicas share as long as they can, and that limits by itself as long as they cannot. */
export interface SharedRateLimiter extends RateLimiter {
  close(): Promise<void>;
}

const retryMs = 500;

/** Resolves after the first attempt to reach the shared counts, whether they were reached or not. */
export async function createSharedRateLimiter(parts: {
  open: (lost: (why: Error) => void) => Promise<SharedCounts>;
  /** Takes over while the shared counts are away. */
  local: RateLimiter;
  log: Log;
  /** Called for each call that the local limiter answers. */
  fellBack: () => void;
}): Promise<SharedRateLimiter> {
  const { open, local, log, fellBack } = parts;
  let counts: SharedCounts | undefined;
  let retry: NodeJS.Timeout | undefined;
  let isAway = false;
  let isClosed = false;

  async function connect(): Promise<void> {
    try {
      const opened = await open(goAway);
      if (isClosed) return opened.close();
      counts = opened;
      if (isAway) log.info("rate limits are shared again");
      isAway = false;
    } catch (error) {
      goAway(error as NodeJS.ErrnoException);
    }
  }

  function goAway({ message, code }: NodeJS.ErrnoException): void {
    counts = undefined;
    if (isClosed) return;
    // If a host has several addresses, the error of all of them has only a code.
    const problem = message === "" ? code : message;
    if (!isAway) log.warn({ problem }, "rate limits are not shared: each process limits by itself for now");
    isAway = true;
    retry = setTimeout(() => {
      connecting = connect();
    }, retryMs);
  }

  /** Undefined if the shared counts are away, or are lost by this call. */
  async function spendShared(...spent: Parameters<RateLimiter["spend"]>): Promise<Budget | undefined> {
    try {
      if (counts !== undefined) return await counts.spend(...spent);
    } catch {
      // The first call that noticed has logged it.
    }
    fellBack();
    return undefined;
  }

  let connecting = connect();
  await connecting;

  return {
    async spend(name, rate, alreadyMade) {
      const shared = await spendShared(name, rate, alreadyMade);
      if (shared?.allowed === false) return shared;
      // The local limiter counts along. When it must limit alone, it knows what was let through.
      const alone = await local.spend(name, rate, alreadyMade);
      return shared ?? alone;
    },
    async close() {
      isClosed = true;
      clearTimeout(retry);
      counts?.close();
      await connecting;
    },
  };
}
