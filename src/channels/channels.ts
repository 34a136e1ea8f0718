import { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";

/** Receives events from other systems, each channel in its own way. */
export function createChannels(_shared: { eventLog: EventLog }): Feature {
  return { services: [serve(ChannelService, {})] };
}
