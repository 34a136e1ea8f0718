import type { Connection } from "./connection.ts";
import { ConnectionLost, DatabaseUnavailable, TooManyCallsWait } from "./errors.ts";

/** A connection that is lent to one operation, until it is disposed of. */
export interface Lease extends Disposable {
  readonly connection: Connection;
}

/** Stands for the organisation in operations that the service runs for all of them. */
export const ownUse = "";

/** How busy a pool is. */
export interface PoolLoad {
  readonly size: number;
  readonly inUse: number;
  /** Operations that wait for a connection. */
  readonly waiting: number;
  /** Connections that were lost while they were lent, since the start. */
  readonly lost: number;
}

/** A fixed number of connections, shared out fairly between organisations. */
export interface Pool {
  load(): PoolLoad;
  /** A connection for an operation of the organisation; waits for one at most this long. */
  lease(orgId: string, waitMs: number): Promise<Lease>;
  /** Ends the idle connections: they may be as dead as the connection that did not answer. */
  endIdle(): void;
  /** Lends no more connections, waits for those that are lent, and ends all. */
  close(): Promise<void>;
}

/** One organisation's part of the pool. */
interface Share {
  leased: number;
  /** How many operations have ended, except by the loss of their connection. */
  ended: number;
  /** In the order of their arrival. */
  readonly waiting: Set<PromiseWithResolvers<Lease>>;
}

/**
 * `size` connections that are opened when they are first needed.
 *
 * An organisation gets another connection only while more are free than it has: alone it gets half of them, beside
 * others less. So a new organisation finds a connection, even while all those of another wait for one locked row.
 * More would be of little use to an organisation, since its changes wait for each other at the head of its audit
 * chain anyway.
 *
 * Operations of no organisation go first, because every call begins with one: the look-up of its key. They get at
 * most half, so that a flood of made-up keys leaves the other half to known callers.
 */
export function createPool(size: number, open: () => Connection): Pool {
  const half = Math.ceil(size / 2);
  // The organisation that was served longest ago is first.
  const shares = new Map<string, Share>();
  // Last in, first out: the connections of a quiet service stay few and warm.
  const idle: Connection[] = [];
  let free = size;
  let lost = 0;
  let closing: PromiseWithResolvers<void> | undefined;

  function shareOf(orgId: string): Share {
    const share = shares.get(orgId) ?? { leased: 0, ended: 0, waiting: new Set() };
    shares.set(orgId, share);
    return share;
  }

  /** Forgets an organisation that has no connection and waits for none. */
  function tidy(orgId: string, { leased, waiting }: Share): void {
    if (leased === 0 && waiting.size === 0) shares.delete(orgId);
  }

  /** Whose turn it is: the service's own, else that of the organisation with the fewest connections. */
  function nextInTurn(): [string, Share] | undefined {
    const own = shares.get(ownUse);
    if (own !== undefined && own.waiting.size > 0 && own.leased < half) return [ownUse, own];
    let next: [string, Share] | undefined;
    for (const [orgId, share] of shares) {
      if (orgId === ownUse || share.waiting.size === 0) continue;
      if (share.leased < (next?.[1].leased ?? free)) next = [orgId, share];
    }
    return next;
  }

  function lendWhatIsFree(): void {
    while (free > 0) {
      const [orgId, share] = nextInTurn() ?? [];
      if (orgId === undefined || share === undefined) return;
      const [first] = share.waiting;
      if (first === undefined) return;
      share.waiting.delete(first);
      shares.delete(orgId);
      shares.set(orgId, share);
      first.resolve(lend(orgId, share));
    }
  }

  function lend(orgId: string, share: Share): Lease {
    share.leased += 1;
    free -= 1;
    const connection = takeIdle() ?? open();
    return {
      connection,
      [Symbol.dispose]() {
        share.leased -= 1;
        free += 1;
        if (connection.lost === undefined) {
          share.ended += 1;
          idle.push(connection);
        } else {
          lost += 1;
        }
        tidy(orgId, share);
        lendWhatIsFree();
        if (free === size) closing?.resolve();
      },
    };
  }

  function takeIdle(): Connection | undefined {
    for (;;) {
      const connection = idle.pop();
      // A connection that the server has ended meanwhile is of no use.
      if (connection === undefined || connection.lost === undefined) return connection;
    }
  }

  return {
    load() {
      const waiting = [...shares.values()].reduce((sum, share) => sum + share.waiting.size, 0);
      return { size, inUse: size - free, waiting, lost };
    },

    async lease(orgId, waitMs) {
      if (closing !== undefined) throw closed();
      const share = shareOf(orgId);
      const turn = Promise.withResolvers<Lease>();
      share.waiting.add(turn);
      const endedBefore = share.ended;
      lendWhatIsFree();
      const timer = setTimeout(() => {
        share.waiting.delete(turn);
        tidy(orgId, share);
        // If none of its operations ended meanwhile, the database is stuck; it is not the caller that asks for much.
        const isOwnLine = orgId !== ownUse && share.ended > endedBefore;
        turn.reject(isOwnLine ? new TooManyCallsWait() : DatabaseUnavailable.busy(notFree(waitMs)));
      }, waitMs);
      return await turn.promise.finally(() => clearTimeout(timer));
    },

    endIdle() {
      const why = new ConnectionLost("another connection of the pool did not answer");
      for (const connection of idle.splice(0)) connection.lose(why);
    },

    async close() {
      closing ??= Promise.withResolvers<void>();
      for (const { waiting } of shares.values()) {
        for (const turn of waiting) turn.reject(closed());
        waiting.clear();
      }
      if (free === size) closing.resolve();
      await closing.promise;
      await Promise.all(idle.splice(0).map((connection) => connection.end()));
    },
  };
}

function closed(): Error {
  return DatabaseUnavailable.unreachable(new ConnectionLost("the database was closed by this service"));
}

function notFree(waitMs: number): Error {
  return new Error(`no connection became free in ${waitMs} ms`);
}
