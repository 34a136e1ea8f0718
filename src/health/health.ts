import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { Connections } from "#src/connections/connections.ts";
import type { Database } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import type { Meter } from "#src/platform/meter.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createGetConnectionHealth } from "./service.ts";
import { createHealthSweep } from "./sweep.ts";
import { createHeads } from "./watch/heads.ts";
import { createWatches } from "./watch/watches.ts";

/** Probes the services of connections, and says what was found and what changes. */
export interface Health extends Feature {
  /** Probes what is due, once it is started. */
  readonly sweep: Loop;
  /** Ends the streams: they would hold up a shutdown. */
  stopWaiting(): void;
}

/** Creates the feature. */
export async function createHealth(shared: {
  database: Database;
  connections: Pick<Connections, "probe" | "use">;
  environment: Environment;
  log: Log;
  meter: Meter;
  now: () => Date;
  monotonicNow: () => number;
}): Promise<Health> {
  const { connections, database } = shared;
  const watches = createWatches({ ...shared, heads: await createHeads(database) });
  return {
    services: [
      serve(ConnectionService, {
        getConnectionHealth: createGetConnectionHealth({ ...shared, use: connections.use }),
        watchConnections: watches.watchConnections,
      }),
    ],
    sweep: createHealthSweep({ ...shared, probe: connections.probe }),
    stopWaiting: () => watches.stop(),
  };
}
