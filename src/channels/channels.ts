import { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createChannelService, type ChannelParts } from "./service.ts";

/** Receives events from other systems, each channel in its own way. */
export function createChannels(shared: ChannelParts): Feature {
  return { services: [serve(ChannelService, createChannelService(shared))] };
}
