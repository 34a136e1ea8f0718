import { type Connection } from "./connection.ts";
import { ConnectionLost, DatabaseUnavailable } from "./errors.ts";

/** A place for one operation at a time, with a connection that outlives it unless it is lost. */
export interface Slot {
  /** The slot's connection; a new one after the last was lost. */
  connection(): Connection;
}

/** A fixed number of slots, lent to one operation each. */
export interface Slots {
  /** A free slot; waits for one at most so long. */
  take(waitMs: number): Promise<Slot>;
  give(slot: Slot): void;
  /** Lends nothing any more, waits for what is lent, and ends the connections. */
  close(): Promise<void>;
}

interface Waiting {
  start(slot: Slot): void;
  fail(error: Error): void;
}

/** `count` slots that open their connections when they are first needed. */
export function createSlots(count: number, open: () => Connection): Slots {
  const connections = new Map<Slot, Connection>();
  const all = Array.from({ length: count }, createSlot);
  // Last in, first out: the connections of a quiet service stay few and warm.
  const free = [...all];
  const queue: Waiting[] = [];
  let closing: { readonly promise: Promise<void>; resolve(): void } | undefined;

  function createSlot(): Slot {
    const slot = {
      connection() {
        const known = connections.get(slot);
        if (known !== undefined && known.lost === undefined) return known;
        const connection = open();
        connections.set(slot, connection);
        return connection;
      },
    };
    return slot;
  }

  function closed(): Error {
    return DatabaseUnavailable.unreachable(new ConnectionLost("the database was closed by this service"));
  }

  return {
    take(waitMs) {
      if (closing !== undefined) return Promise.reject(closed());
      const slot = free.pop();
      if (slot !== undefined) return Promise.resolve(slot);
      return new Promise((resolve, reject) => {
        const waiting: Waiting = {
          start(given) {
            clearTimeout(timer);
            resolve(given);
          },
          fail(error) {
            clearTimeout(timer);
            reject(error);
          },
        };
        const timer = setTimeout(() => {
          queue.splice(queue.indexOf(waiting), 1);
          reject(
            DatabaseUnavailable.busy(new Error(`none of ${count} connections became free in ${waitMs} ms`)),
          );
        }, waitMs);
        queue.push(waiting);
      });
    },

    give(slot) {
      const next = queue.shift();
      if (next !== undefined) return next.start(slot);
      free.push(slot);
      if (free.length === count) closing?.resolve();
    },

    async close() {
      closing ??= Promise.withResolvers<void>();
      for (const waiting of queue.splice(0)) waiting.fail(closed());
      if (free.length === count) closing.resolve();
      await closing.promise;
      await Promise.all([...connections.values()].map((connection) => connection.end()));
    },
  };
}
