import { EventGroupService } from "#gen/patchbay/events/v1/event_group_service_pb.js";
import { EventService } from "#gen/patchbay/events/v1/event_service_pb.js";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";

/** Lets callers read logs: as lists, as streams, and in groups of consumers. */
export function createEvents(_shared: { eventLog: EventLog }): Feature {
  return { services: [serve(EventService, {}), serve(EventGroupService, {})] };
}
