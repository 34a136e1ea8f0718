import type { Client } from "@connectrpc/connect";
import type { Connection } from "#gen/patchbay/connections/v1/connection_pb.js";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { WatchConnectionsResponse } from "#gen/patchbay/connections/v1/health_pb.js";
import { reconnecting } from "./reconnecting.ts";

/** The connections that the key may see, at one time. */
export interface WatchedConnections {
  /** All of them by id. The next turn of the loop changes it. */
  readonly all: ReadonlyMap<string, Connection>;
  /** Those that are new or changed since the previous turn; all in the first. */
  readonly changed: readonly Connection[];
  /** Ids of those that were deleted since, or that the key may no longer see. */
  readonly removedIds: readonly string[];
}

/** Watches connections. */
export interface ConnectionWatcher {
  /**
   * The connections as they are, and again whenever one changes or another state of its health is found. It reconnects
   * by itself and misses no change. Throws what Patchbay refuses.
   */
  watch(options?: {
    /** Ends it, without an error, when it aborts. */
    readonly signal?: AbortSignal;
  }): AsyncGenerator<WatchedConnections, void, undefined>;
}

export function createWatch(client: Client<typeof ConnectionService>): ConnectionWatcher["watch"] {
  return async function* watch({ signal } = {}) {
    const all = new Map<string, Connection>();
    const touched = new Set<string>();
    let position = "";
    let isFirst = true;

    function apply({ reset, connections, removedIds }: WatchConnectionsResponse): void {
      if (reset) {
        for (const id of all.keys()) touched.add(id);
        all.clear();
      }
      for (const connection of connections) {
        touched.add(connection.id);
        all.set(connection.id, connection);
      }
      for (const id of removedIds) if (all.delete(id)) touched.add(id);
    }

    yield* reconnecting(signal, {
      open: (attempt) => client.watchConnections({ position }, { signal: attempt }),
      async *handle(message: WatchConnectionsResponse) {
        apply(message);
        position = message.position;
        if (!message.current || (touched.size === 0 && !isFirst)) return;
        isFirst = false;
        const changed: Connection[] = [];
        const removedIds: string[] = [];
        for (const id of touched) {
          const connection = all.get(id);
          if (connection === undefined) removedIds.push(id);
          else changed.push(connection);
        }
        touched.clear();
        yield { all, changed, removedIds };
      },
    });
  };
}
