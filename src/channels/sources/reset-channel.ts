import type { ServiceImpl } from "@connectrpc/connect";
import type { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { ChannelHasNoSource, ChannelNotFound } from "../errors.ts";
import { toMessage } from "../messages.ts";
import { getChannel, getChannelForUpdate } from "../store.ts";
import { resetSource } from "./state.ts";

/** Reads a channel's source from its beginning again. See the contract, `channel_service.proto`. */
export function createResetChannel(parts: {
  change: Change;
  now: () => Date;
}): ServiceImpl<typeof ChannelService>["resetChannel"] {
  const { change, now } = parts;
  return async ({ id }, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const channel = await change(call, async (tx) => {
      const found = await getChannelForUpdate(tx, caller, id);
      if (found === undefined) throw new ChannelNotFound();
      if (found.sourceState === undefined) throw new ChannelHasNoSource();
      await resetSource(tx, caller.orgId, id, now());
      const cursor = { before: found.sourceState.cursor ?? null, after: null };
      await append(tx, call, { action: "channel.reset", target: id, details: { cursor } });
      return await getChannel(tx, caller, id);
    });
    if (channel === undefined) throw new ChannelNotFound();
    return { channel: toMessage(channel) };
  };
}
