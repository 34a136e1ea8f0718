import { errors, Pool, type Dispatcher } from "undici";
import type { Connector } from "./connector.ts";
import type { Stage } from "./errors.ts";

/** Keeps the sockets of each share to each origin apart from all others. */
export interface Pools {
  /** The sockets for one call, to dispose of when it has ended. The connector opens new ones. */
  open(share: string, origin: string, createConnector: () => Connector): PoolInUse;
  /** Cuts the calls under way and closes every socket. */
  close(): Promise<void>;
}

/** A pool while a call uses it. */
export interface PoolInUse extends Disposable {
  readonly dispatcher: Dispatcher;
  /** How far a call got that has no socket yet. */
  readonly stage: () => Stage;
  /** When the certificate ends that the service showed last; undefined if it showed none. */
  readonly certificateExpiresAt: () => Date | undefined;
}

interface OpenPool {
  readonly key: string;
  readonly pool: Pool;
  readonly connector: Connector;
  calls: number;
  sockets: number;
}

/**
 * A pool lives as long as it has a call or an open socket. Two shares never use one socket: an answer that a service
 * sends at the wrong moment stays within the share, and so does the wait for a free one.
 */
export function createPools(options: {
  readonly pool: Omit<Pool.Options, "connect">;
  /** Beyond this many in all, idle sockets are closed. */
  readonly maxSockets: number;
}): Pools {
  /** By share and origin, the one whose last use was longest ago first. */
  const pools = new Map<string, OpenPool>();
  /** No longer given to calls; their last calls may still be under way. */
  const retired = new Set<OpenPool>();
  let sockets = 0;
  let isClosed = false;

  function create(key: string, origin: string, connector: Connector): OpenPool {
    const pool = new Pool(origin, {
      ...options.pool,
      connect: (target, callback) =>
        connector.connect(target, (...[error, socket]) => {
          if (error !== null) return callback(error, null);
          sockets++;
          open.sockets++;
          socket.once("close", () => {
            sockets--;
            open.sockets--;
            retireUnused(open);
          });
          callback(null, socket);
          if (sockets > options.maxSockets) retireIdlest();
        }),
    });
    const open: OpenPool = { key, pool, connector, calls: 0, sockets: 0 };
    return open;
  }

  function retireUnused(open: OpenPool): void {
    if (open.calls === 0 && open.sockets === 0) retire(open);
  }

  function retireIdlest(): void {
    for (const open of pools.values()) if (open.calls === 0) return retire(open);
  }

  function retire(open: OpenPool): void {
    if (pools.get(open.key) !== open) return;
    pools.delete(open.key);
    retired.add(open);
    open.connector.close();
    void open.pool.close().finally(() => retired.delete(open));
  }

  return {
    open(share, origin, createConnector) {
      if (isClosed) throw new errors.ClientClosedError();
      const key = JSON.stringify([share, origin]);
      const open = pools.get(key) ?? create(key, origin, createConnector());
      pools.delete(key);
      pools.set(key, open);
      open.calls++;
      return {
        dispatcher: open.pool,
        stage: () => open.connector.stage(),
        certificateExpiresAt: () => open.connector.certificateExpiresAt(),
        [Symbol.dispose]() {
          open.calls--;
          retireUnused(open);
        },
      };
    },

    async close() {
      isClosed = true;
      const all = [...pools.values(), ...retired];
      pools.clear();
      for (const { connector } of all) connector.close();
      await Promise.all(all.map(({ pool }) => pool.destroy()));
    },
  };
}
