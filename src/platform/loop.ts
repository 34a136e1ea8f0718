import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "./log.ts";

/** What goes on while nobody calls. */
export interface Loop {
  /** Does what is due now, and resolves when that is done. */
  runOnce(): Promise<void>;
  /** Goes on from now, until `stop`. */
  start(): void;
  /** Resolves when what was begun is done or given up. */
  stop(): Promise<void>;
}

/** Repeats the work, with a pause behind each turn. A turn that fails is written to the log, and the next one comes. */
export function createLoop(parts: {
  /** What the work is, for the log. */
  name: string;
  everyMs: number;
  work: (signal: AbortSignal) => Promise<void>;
  log: Log;
}): Loop {
  const { name, everyMs, work, log } = parts;
  const stopping = new AbortController();
  const { signal } = stopping;
  let going: Promise<void> = Promise.resolve();

  async function goOn(): Promise<void> {
    while (!signal.aborted) {
      await work(signal).catch((error: unknown) => {
        if (!signal.aborted) log.warn({ err: error }, `${name} failed; it is tried again`);
      });
      await sleep(everyMs, undefined, { signal }).catch(() => {});
    }
  }

  return {
    runOnce: () => work(signal),
    start() {
      going = goOn();
    },
    async stop() {
      stopping.abort();
      await going;
    },
  };
}
