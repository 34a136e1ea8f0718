import { EventGroupService } from "#gen/patchbay/events/v1/event_group_service_pb.js";
import { EventService } from "#gen/patchbay/events/v1/event_service_pb.js";
import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createEventBody } from "./event-body.ts";
import { createEventService, createFindEvent } from "./event-service.ts";
import { createEventStream } from "./event-stream.ts";
import { createReadableLogs, type IsShownChannel } from "./readable-logs.ts";
import { createSubscribe } from "./subscribe.ts";
import { createSubscriptions } from "./subscriptions.ts";

/** Lets callers read logs: as lists, as streams, and in groups of consumers. */
export interface Events extends Feature {
  /** Ends the streams that would hold up a shutdown. */
  stopStreams(): void;
}

/** Creates the feature. */
export function createEvents(shared: {
  database: Database;
  eventLog: EventLog;
  isShownChannel: IsShownChannel;
  monotonicNow: () => number;
}): Events {
  const readable = createReadableLogs(shared);
  const subscriptions = createSubscriptions({ ...shared, readable });
  const findEvent = createFindEvent({ ...shared, readable });
  return {
    services: [
      serve(EventService, {
        ...createEventService({ ...shared, readable, findEvent }),
        subscribe: createSubscribe(subscriptions),
      }),
      serve(EventGroupService, {}),
    ],
    rawRoutes: [createEventStream({ ...shared, subscriptions }), createEventBody({ findEvent })],
    stopStreams: () => subscriptions.stop(),
  };
}
