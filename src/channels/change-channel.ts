import type {
  RotateChannelSecretRequest,
  UpdateChannelRequest,
} from "#gen/patchbay/events/v1/channel_service_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { needsSecret, type Channel, type ChannelConfig } from "./channel.ts";
import { ImmutableAuthentication, TooManyChannelSecrets } from "./errors.ts";
import { receiverFrom, type NewChannel } from "./new-channel.ts";
import { pollConfigFrom, streamConfigFrom } from "./sources/from-message.ts";
import { newSegment, secretFrom, segmentHashOf } from "./secret-text.ts";

const dayMs = 24 * 60 * 60 * 1000;
const mostSecrets = 5;

/** The channel as the request wants it. */
export function update(
  channel: Channel,
  request: UpdateChannelRequest,
  at: Date,
  /** What its source is read through from now on; undefined to leave it. */
  connectionId: string | undefined,
): Channel {
  const { name, retentionSeconds, dedupSeconds, cloudEvents, receiver, source } = request;
  const isEmpty = [name, retentionSeconds, dedupSeconds, cloudEvents, receiver, source.case].every(
    (given) => given === undefined,
  );
  if (isEmpty)
    throw new InvalidRequest(
      "nothing to change; give one of name, cloudEvents, receiver, sse, poll, retentionSeconds, dedupSeconds",
    );
  return {
    ...channel,
    name: name ?? channel.name,
    config: configFrom(channel, request),
    connectionId: connectionId ?? channel.connectionId,
    retentionSeconds: retentionSeconds ?? channel.retentionSeconds,
    dedupSeconds: dedupSeconds ?? channel.dedupSeconds,
    version: channel.version + 1,
    updatedAt: at,
  };
}

function configFrom(
  { kind, config }: Channel,
  { cloudEvents, receiver, source }: UpdateChannelRequest,
): ChannelConfig {
  if (source.case !== undefined && source.case !== kind)
    throw new InvalidRequest(`${source.case}: the channel is of kind ${kind}; leave it out`);
  if (cloudEvents !== undefined && kind !== "cloudevents")
    throw new InvalidRequest(`cloudEvents: the channel is of kind ${kind}; leave it out`);
  if (receiver !== undefined && config.receiver === undefined)
    throw new InvalidRequest(`receiver: to a channel of kind ${kind}, nobody sends; leave it out`);
  const before = config.receiver?.authentication;
  const next = receiver && before && receiverFrom(receiver, before);
  if (next !== undefined && next.authentication !== before) throw new ImmutableAuthentication();
  return {
    ...config,
    ...(cloudEvents !== undefined && { allowedOrigins: cloudEvents.allowedOrigins }),
    ...(next !== undefined && { receiver: next }),
    ...(source.case === "sse" && { sse: streamConfigFrom(source.value) }),
    ...(source.case === "poll" && { poll: pollConfigFrom(source.value) }),
  };
}

/** The channel with another secret, or with another end of its address. The previous secret has its grace. */
export function rotate(channel: Channel, request: RotateChannelSecretRequest, at: Date): NewChannel {
  const { config, version } = channel;
  const changed = { ...channel, version: version + 1, updatedAt: at };
  if (config.receiver?.authentication === "none") {
    if (request.secret !== undefined)
      throw new InvalidRequest("secret: the channel has a secret end of its address instead; leave it out");
    const segment = newSegment();
    return { channel: { ...changed, segmentHash: segmentHashOf(segment) }, secret: undefined, segment };
  }
  if (!needsSecret(config))
    throw new InvalidRequest(
      "the channel has no secret: its senders show a key of Patchbay, which is rotated with POST /api/api-keys/{id}/rotate",
    );
  const graceMs = request.graceSeconds === undefined ? dayMs : request.graceSeconds * 1000;
  const until = new Date(at.getTime() + graceMs);
  // Without a grace, those whose grace is not over end as well: one of them may be the secret that leaked.
  const kept = (graceMs === 0 ? [] : channel.secrets)
    .map((secret) => ({ ...secret, validUntil: secret.validUntil ?? until }))
    .filter(({ validUntil }) => validUntil > at);
  if (kept.length >= mostSecrets) throw new TooManyChannelSecrets(mostSecrets);
  const newest = Math.max(0, ...channel.secrets.map((secret) => secret.version)) + 1;
  return {
    channel: { ...changed, secrets: [{ version: newest, createdAt: at, validUntil: undefined }, ...kept] },
    secret: secretFrom(request.secret, config),
    segment: undefined,
  };
}
