import { type Connection } from "./connection.ts";
import { ConnectionLost, DatabaseUnavailable } from "./errors.ts";

/** A connection lent to one operation at a time. It outlives the operation unless it is lost. */
export interface Lease {
  /** The connection; a new one after the last was lost. */
  connection(): Connection;
}

/** A fixed number of connections, lent to one operation each. */
export interface Pool {
  /** A free connection; waits for one at most this long. */
  lease(waitMs: number): Promise<Lease>;
  release(lease: Lease): void;
  /** Lends nothing any more, waits for what is lent, and ends the connections. */
  close(): Promise<void>;
}

interface Waiting {
  start(lease: Lease): void;
  fail(error: Error): void;
}

/** `size` connections that are opened when they are first needed. */
export function createPool(size: number, open: () => Connection): Pool {
  const connections = new Map<Lease, Connection>();
  const all = Array.from({ length: size }, createLease);
  // Last in, first out: the connections of a quiet service stay few and warm.
  const free = [...all];
  const queue: Waiting[] = [];
  let closing: { readonly promise: Promise<void>; resolve(): void } | undefined;

  function createLease(): Lease {
    const lease = {
      connection() {
        const known = connections.get(lease);
        if (known !== undefined && known.lost === undefined) return known;
        const connection = open();
        connections.set(lease, connection);
        return connection;
      },
    };
    return lease;
  }

  function closed(): Error {
    return DatabaseUnavailable.unreachable(new ConnectionLost("the database was closed by this service"));
  }

  return {
    lease(waitMs) {
      if (closing !== undefined) return Promise.reject(closed());
      const lease = free.pop();
      if (lease !== undefined) return Promise.resolve(lease);
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
            DatabaseUnavailable.busy(new Error(`none of ${size} connections became free in ${waitMs} ms`)),
          );
        }, waitMs);
        queue.push(waiting);
      });
    },

    release(lease) {
      const next = queue.shift();
      if (next !== undefined) return next.start(lease);
      free.push(lease);
      if (free.length === size) closing?.resolve();
    },

    async close() {
      closing ??= Promise.withResolvers<void>();
      for (const waiting of queue.splice(0)) waiting.fail(closed());
      if (free.length === size) closing.resolve();
      await closing.promise;
      await Promise.all([...connections.values()].map((connection) => connection.end()));
    },
  };
}
