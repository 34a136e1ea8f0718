import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ChannelSchema } from "#gen/patchbay/events/v1/channel_pb.js";
import { present } from "#src/platform/present.ts";
import type { Channel } from "./channel.ts";
import { ownSenderMessage } from "./own-sender.ts";
import { pollMessage, stateMessage, streamMessage } from "./sources/to-message.ts";

/** A channel as callers see it. */
export function toMessage(channel: Channel): MessageInitShape<typeof ChannelSchema> {
  const { id, name, environment, kind, config, state, retentionSeconds, dedupSeconds } = channel;
  const { receiver } = config;
  return present({
    ...{ id, name, environment, kind, state, retentionSeconds, dedupSeconds },
    source: sourceOf(channel),
    receiver: receiver && present({ ...receiver }),
    stateReason: channel.stateReason,
    lastSeq: BigInt(channel.lastSeq),
    secrets: channel.secrets.map(({ version, createdAt, validUntil }) =>
      present({
        version,
        createdAt: timestampFromDate(createdAt),
        validUntil: validUntil && timestampFromDate(validUntil),
      }),
    ),
    createdAt: timestampFromDate(channel.createdAt),
    updatedAt: timestampFromDate(channel.updatedAt),
    createdBy: channel.createdBy,
    sourceState: channel.sourceState && stateMessage(channel.sourceState),
  });
}

function sourceOf({
  kind,
  config,
  connectionId = "",
}: Channel): MessageInitShape<typeof ChannelSchema>["source"] {
  if (kind === "webhook") {
    const { preset, sender = {} } = config;
    return { case: "webhook", value: { ...present({ preset }), ...ownSenderMessage(sender) } };
  }
  if (kind === "cloudevents")
    return { case: "cloudEvents", value: { allowedOrigins: [...(config.allowedOrigins ?? [])] } };
  if (config.sse !== undefined) return { case: "sse", value: streamMessage(config.sse, connectionId) };
  if (config.poll !== undefined) return { case: "poll", value: pollMessage(config.poll, connectionId) };
  return undefined;
}
