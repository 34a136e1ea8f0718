import { setImmediate as laterInThisTurn } from "node:timers/promises";
import type { Database, Tx } from "#src/db/database.ts";
import { IntakeUnavailable } from "./errors.ts";
import type { NewEvent } from "./event.ts";
import { acceptEvents, type SealedArrival } from "./intake-store.ts";

/** What came for a channel. */
export interface Arrival extends NewEvent {
  /** The channel's id, which is the name of its log. */
  readonly log: string;
  /** The first 16 bytes of the SHA-256 of what it is known again by; undefined if it is never known again. */
  readonly key: Buffer | undefined;
}

/** Where an event stands in its log. */
export interface Accepted {
  readonly seq: number;
  /** False if it had come before: the number is that of the first. */
  readonly isNew: boolean;
}

/** What is written in the same transaction, before the events. It belongs to no organisation, as in `database.system`. */
export type WrittenWith = (tx: Tx) => Promise<void>;

/** Takes events in: all of a call in one transaction, and answers once they are committed. */
export type Accept = (
  arrivals: readonly SealedArrival[],
  also?: WrittenWith,
) => Promise<readonly (Accepted | undefined)[]>;

interface Waiting {
  readonly arrivals: readonly SealedArrival[];
  readonly bytes: number;
  readonly also: WrittenWith | undefined;
  done(accepted: readonly (Accepted | undefined)[]): void;
  failed(error: unknown): void;
}

const maxBatchEvents = 512;
const maxBatchBytes = 4 * 1024 * 1024;
const maxWaitingEvents = 5_000;
const maxWaitingBytes = 64 * 1024 * 1024;

/**
 * Group commit: one writer takes whatever waits into its next transaction, so the cost of a commit is shared by all who
 * wait for it. There is no timer: an idle service adds no delay.
 */
export function createIntake(parts: { database: Pick<Database, "system">; now: () => Date }): Accept {
  const { database, now } = parts;
  const waiting: Waiting[] = [];
  let waitingEvents = 0;
  let waitingBytes = 0;
  let isWriting = false;

  function nextBatch(): Waiting[] {
    let events = 0;
    let bytes = 0;
    const size = waiting.findIndex((one) => {
      events += one.arrivals.length;
      bytes += one.bytes;
      return events > maxBatchEvents || bytes > maxBatchBytes;
    });
    const batch = waiting.splice(0, size === -1 ? waiting.length : Math.max(size, 1));
    for (const one of batch) {
      waitingEvents -= one.arrivals.length;
      waitingBytes -= one.bytes;
    }
    return batch;
  }

  async function write(batch: readonly Waiting[]): Promise<void> {
    try {
      const arrivals = batch.flatMap((one) => one.arrivals);
      const accepted = await database.system(async (tx) => {
        for (const { also } of batch) await also?.(tx);
        return acceptEvents(tx, arrivals, now());
      });
      let from = 0;
      for (const one of batch) one.done(accepted.slice(from, (from += one.arrivals.length)));
    } catch (error) {
      // One that the database refuses for what it holds must not take the others with it.
      if (batch.length > 1) for (const one of batch) await write([one]);
      else batch[0]?.failed(error);
    }
  }

  async function writeAll(): Promise<void> {
    isWriting = true;
    // Whatever arrived in the same turn goes along.
    await laterInThisTurn();
    while (waiting.length > 0) await write(nextBatch());
    isWriting = false;
  }

  return (arrivals, also) => {
    const bytes = arrivals.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
    if (waitingEvents + arrivals.length > maxWaitingEvents || waitingBytes + bytes > maxWaitingBytes) {
      return Promise.reject(new IntakeUnavailable("too many events wait to be stored"));
    }
    const {
      promise,
      resolve: done,
      reject: failed,
    } = Promise.withResolvers<readonly (Accepted | undefined)[]>();
    waiting.push({ arrivals, bytes, also, done, failed });
    waitingEvents += arrivals.length;
    waitingBytes += bytes;
    if (!isWriting) void writeAll();
    return promise;
  };
}
