import { EventService } from "#gen/patchbay/events/v1/event_service_pb.js";
import type { Change } from "#src/audit/change.ts";
import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createEventBody } from "./event-body.ts";
import { createEventService, createFindEvent } from "./event-service.ts";
import { createEventStream } from "./event-stream.ts";
import { createGroups } from "./groups/groups.ts";
import { createReadableLogs, type IsShownChannel } from "./readable-logs.ts";
import { createSubscribe } from "./subscribe.ts";
import { createSubscriptions } from "./subscriptions.ts";

/** Lets callers read logs: as lists, as streams, and in groups of consumers. */
export interface Events extends Feature {
  /** Ends the streams, and what waits for events: they would hold up a shutdown. */
  stopWaiting(): void;
  /** Forgets what consumers' groups need no more, once it is started. */
  readonly groupUpkeep: Loop;
}

/** Creates the feature. */
export async function createEvents(shared: {
  database: Database;
  change: Change;
  eventLog: EventLog;
  isShownChannel: IsShownChannel;
  environment: Environment;
  log: Log;
  now: () => Date;
  monotonicNow: () => number;
}): Promise<Events> {
  const readable = createReadableLogs(shared);
  const subscriptions = createSubscriptions({ ...shared, readable });
  const findEvent = createFindEvent({ ...shared, readable });
  const groups = await createGroups({ ...shared, readable });
  return {
    services: [
      serve(EventService, {
        ...createEventService({ ...shared, readable, findEvent }),
        subscribe: createSubscribe({ ...shared, subscriptions }),
      }),
      groups.service,
    ],
    rawRoutes: [createEventStream({ ...shared, subscriptions }), createEventBody({ findEvent })],
    groupUpkeep: groups.upkeep,
    stopWaiting() {
      subscriptions.stop();
      groups.stopWaiting();
    },
  };
}
