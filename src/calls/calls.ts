import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { Connections } from "#src/connections/connections.ts";
import type { Database } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import type { Operations } from "#src/operations/operations.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Log } from "#src/platform/log.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createCallAction, createReadAction } from "./call-action.ts";
import { createCallService } from "./call-service.ts";
import { createChecks, type Checks } from "./checks/checks.ts";
import { createDialogueThrough, type DialogueThrough } from "./dialogue-through.ts";
import { createMakeCall } from "./make-call.ts";
import { createOutputDrift } from "./output-drift.ts";
import { createPlanCall } from "./plan-call.ts";
import { createProxy } from "./proxy/proxy.ts";
import { createReflections } from "./reflections.ts";
import { createThrough, type Through } from "./through.ts";
import { createTestConnection } from "./test-connection.ts";

/** What makes calls, and the way through a connection for features that need one. */
export interface Calls extends Feature {
  readonly through: Through;
  readonly checks: Checks;
  /** The same for a call of gRPC. */
  readonly dialogueThrough: DialogueThrough;
}

/** Makes the calls: with the credential of a connection, or only to see whether its service is there. */
export function createCalls(shared: {
  database: Database;
  change: Change;
  outbound: Outbound;
  connections: Pick<Connections, "open" | "another" | "probe" | "usable" | "use">;
  operations: Operations;
  log: Log;
  now: () => Date;
}): Calls {
  const reflections = createReflections(shared);
  const through = createThrough({ ...shared, reflections });
  const makeCall = createMakeCall(through);
  const checks = createChecks(shared);
  const drift = createOutputDrift({ ...shared, checks });
  const readAction = createReadAction({ ...shared, checks });
  return {
    services: [
      serve(ConnectionService, {
        callService: createCallService(makeCall),
        callAction: createCallAction(readAction, makeCall, drift),
        planCall: createPlanCall({ ...shared, readAction }),
        testConnection: createTestConnection(shared),
      }),
    ],
    through,
    dialogueThrough: createDialogueThrough({ ...shared, reflections }),
    rawRoutes: [createProxy({ ...shared, reflections })],
    checks,
    async close() {
      await Promise.all([reflections.close(), drift.close()]);
      await checks.close();
    },
  };
}
