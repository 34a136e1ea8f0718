import { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import type { Environment } from "#src/platform/caller.ts";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import type { Verification } from "#src/verification/verification.ts";
import { createReceiver } from "./receiver.ts";
import { createReceivingLookup } from "./receiving.ts";
import { createSender } from "./sender.ts";
import { createChannelService, type ChannelParts } from "./service.ts";
import { createSources, type SourceParts } from "./sources/sources.ts";

/** Receives events from other systems, each channel in its own way. */
export interface Channels extends Feature {
  /** Reads the sources of channels, once it is started. */
  readonly sources: Loop;
}

/** Creates the channels. */
export async function createChannels(
  shared: ChannelParts &
    SourceParts & {
      environment: Environment;
      callLimiter: RateLimiter;
      verification: Pick<Verification, "authenticate" | "rateLimits">;
      monotonicNow: () => number;
    },
): Promise<Channels> {
  const { authenticate, rateLimits: limits } = shared.verification;
  const lookup = await createReceivingLookup(shared);
  const sender = createSender({ ...shared, authenticate, limits });
  return {
    services: [serve(ChannelService, createChannelService(shared))],
    openRoutes: [createReceiver({ ...shared, lookup, sender, limits })],
    sources: createSources(shared),
  };
}
