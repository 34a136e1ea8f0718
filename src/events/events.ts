import { EventService } from "#gen/patchbay/events/v1/event_service_pb.js";
import type { Change } from "#src/audit/change.ts";
import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Environment } from "#src/platform/caller.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createGroups } from "./groups/groups.ts";

/** Reads logs for callers. */
export interface Events extends Feature {
  /** Ends what waits for events: it would hold up a shutdown. */
  stopWaiting(): void;
}

/** Lets callers read logs: as lists, as streams, and in groups of consumers. */
export async function createEvents(shared: {
  database: Database;
  change: Change;
  eventLog: EventLog;
  environment: Environment;
  now: () => Date;
}): Promise<Events> {
  const groups = await createGroups(shared);
  return {
    services: [serve(EventService, {}), groups.service],
    stopWaiting: () => groups.stopWaiting(),
  };
}
