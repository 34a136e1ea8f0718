import type { CreateChannelRequest } from "#gen/patchbay/events/v1/channel_service_pb.js";
import type { Receiver, Reply, WebhookSender } from "#gen/patchbay/events/v1/channel_pb.js";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { newId } from "#src/platform/ids.ts";
import { present } from "#src/platform/present.ts";
import type {
  Authentication,
  Channel,
  ChannelConfig,
  ChannelKind,
  FixedReply,
  ReceiverConfig,
} from "./channel.ts";
import { needsSecret } from "./channel.ts";
import { ownSenderFrom } from "./own-sender.ts";
import { presets } from "./presets.ts";
import { isSecretTheirs, newSegment, secretFrom, segmentHashOf, type SecretText } from "./secret-text.ts";
import { pollConfigFrom, streamConfigFrom } from "./sources/from-message.ts";
import { newSource } from "./sources/state.ts";

/** How long events are kept, and known again, where nobody says otherwise: a week. */
export const usualSeconds = 7 * 24 * 60 * 60;
const shortest = 60 * 60;
const defaultBodyBytes = 1024 * 1024;
const defaultRequestsPerMinute = 6_000;

/** A new channel, with what is shown once. */
export interface NewChannel {
  readonly channel: Channel;
  /** What its sender proves itself by; undefined if it needs no secret of the channel. */
  readonly secret: SecretText | undefined;
  /** The secret end of its path. */
  readonly segment: string | undefined;
}

/** The channel that the caller asks for. */
export function newChannel(
  request: CreateChannelRequest,
  caller: Caller,
  at: Date,
  /** What its source is read through; undefined if others send to it. */
  connectionId: string | undefined,
): NewChannel {
  const { kind, config } = sourceFrom(request);
  const segment = config.receiver?.authentication === "none" ? newSegment() : undefined;
  const secret = secretFor(request, config);
  const channel: Channel = {
    orgId: caller.orgId,
    id: newId("chn", at),
    environment: caller.environment,
    name: request.name,
    ...{ kind, config },
    connectionId,
    state: "active",
    stateReason: undefined,
    segmentHash: segment === undefined ? undefined : segmentHashOf(segment),
    createdBy: caller.via.id,
    version: 1,
    retentionSeconds: secondsFrom("retentionSeconds", request.retentionSeconds),
    dedupSeconds: secondsFrom("dedupSeconds", request.dedupSeconds),
    lastSeq: 0,
    secrets: secret === undefined ? [] : [{ version: 1, createdAt: at, validUntil: undefined }],
    sourceState: config.receiver === undefined ? newSource(at) : undefined,
    createdAt: at,
    updatedAt: at,
  };
  return { channel, secret, segment };
}

function sourceFrom({ source, receiver }: CreateChannelRequest): {
  kind: ChannelKind;
  config: ChannelConfig;
} {
  switch (source.case) {
    case "webhook": {
      const preset = presetFrom(source.value);
      const sender = ownSenderFrom(source.value);
      return {
        kind: "webhook",
        config: { preset, ...(sender && { sender }), receiver: receiverFrom(receiver, "signature") },
      };
    }
    case "cloudEvents": {
      const { allowedOrigins } = source.value;
      return {
        kind: "cloudevents",
        config: { allowedOrigins, receiver: receiverFrom(receiver, "bearer") },
      };
    }
    case "sse":
      requireNoReceiver(receiver);
      return { kind: "sse", config: { sse: streamConfigFrom(source.value) } };
    case "poll":
      requireNoReceiver(receiver);
      return { kind: "poll", config: { poll: pollConfigFrom(source.value) } };
    case undefined:
      throw new InvalidRequest("give one of webhook, cloudEvents, sse, poll");
  }
}

function requireNoReceiver(given: Receiver | undefined): void {
  if (given !== undefined) {
    throw new InvalidRequest("receiver: nobody sends to a channel that reads its source; leave it out");
  }
}

function presetFrom({ preset }: WebhookSender): string {
  if (preset === "") return "generic";
  if (presets.has(preset)) return preset;
  throw new InvalidRequest(`webhook.preset: give one of ${[...presets.keys()].join(", ")}`);
}

/** What the caller decides about how requests are taken. */
export function receiverFrom(given: Receiver | undefined, usual: Authentication): ReceiverConfig {
  const { authentication = "", tokenHeader = "", maxBodyBytes = 0, requestsPerMinute = 0 } = given ?? {};
  return present({
    authentication: authentication === "" ? usual : (authentication as Authentication),
    tokenHeader: tokenHeader === "" ? undefined : tokenHeader.toLowerCase(),
    maxBodyBytes: maxBodyBytes === 0 ? defaultBodyBytes : maxBodyBytes,
    requestsPerMinute: requestsPerMinute === 0 ? defaultRequestsPerMinute : requestsPerMinute,
    reply: replyFrom(given?.reply),
  });
}

function replyFrom(given: Reply | undefined): FixedReply | undefined {
  if (given === undefined) return undefined;
  const { status, contentType, body } = given;
  if (status === 204 && body !== "") throw new InvalidRequest("receiver.reply.body: an answer 204 has none");
  return {
    status: status === 0 ? 200 : status,
    contentType: contentType === "" ? "text/plain" : contentType,
    body,
  };
}

function secondsFrom(field: string, given: number): number {
  if (given === 0) return usualSeconds;
  if (given < shortest) throw new InvalidRequest(`${field}: give at least ${shortest}`);
  return given;
}

function secretFor({ secret }: CreateChannelRequest, config: ChannelConfig): NewChannel["secret"] {
  if (!needsSecret(config)) {
    if (secret === undefined) return undefined;
    if (config.receiver === undefined) {
      throw new InvalidRequest("secret: nobody sends to a channel that reads its source; leave it out");
    }
    throw new InvalidRequest(
      `secret: with authentication ${config.receiver.authentication}, senders prove themselves without it; leave it out`,
    );
  }
  // Of a vendor that shows the secret only when it knows the address, it comes later.
  if (secret === undefined && isSecretTheirs(config)) return undefined;
  return secretFrom(secret, config);
}
