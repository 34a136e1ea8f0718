import { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createChannelService, type ChannelParts } from "./service.ts";
import { createSources, type SourceParts } from "./sources/sources.ts";

/** Receives events from other systems, each channel in its own way. */
export interface Channels extends Feature {
  /** Reads the sources of channels, once it is started. */
  readonly sources: Loop;
}

/** Creates the channels. */
export function createChannels(shared: ChannelParts & SourceParts): Channels {
  return {
    services: [serve(ChannelService, createChannelService(shared))],
    sources: createSources(shared),
  };
}
