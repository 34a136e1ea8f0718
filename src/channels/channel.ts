import type { OwnSender } from "./own-sender.ts";
import type { PollConfig, StreamConfig } from "./sources/source.ts";
import type { SourceState } from "./sources/state.ts";

/** Where a channel's events come from. */
export type ChannelKind = "webhook" | "cloudevents" | "sse" | "poll";

/** What a channel is told of its sender or its source. */
export interface ChannelConfig {
  /** The name of the preset that its sender follows, such as `github`. */
  readonly preset?: string;
  /** What it says of its sender itself, where no preset knows it. */
  readonly sender?: OwnSender;
  /** The origins whose handshake a CloudEvents channel grants. */
  readonly allowedOrigins?: readonly string[];
  /** The event stream that an sse channel reads. */
  readonly sse?: StreamConfig;
  /** The list that a poll channel asks for. */
  readonly poll?: PollConfig;
  /** How requests of senders are taken; undefined for a channel that reads its source by itself. */
  readonly receiver?: ReceiverConfig;
}

/** How a sender proves itself. */
export type Authentication = "signature" | "token" | "basic" | "bearer" | "none";

/** How requests of senders are taken. */
export interface ReceiverConfig {
  readonly authentication: Authentication;
  /** The header of the token, if it is not the preset's. */
  readonly tokenHeader?: string;
  readonly maxBodyBytes: number;
  readonly requestsPerMinute: number;
  /** Undefined for the number of the event, as JSON. */
  readonly reply?: FixedReply;
}

/** What every request is answered whose events are stored. */
export interface FixedReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** A channel, and where its log ends. */
export interface Channel {
  readonly orgId: string;
  readonly id: string;
  readonly environment: "sandbox" | "live";
  readonly name: string;
  readonly kind: ChannelKind;
  readonly config: ChannelConfig;
  readonly connectionId: string | undefined;
  readonly state: "active" | "paused" | "blocked";
  readonly stateReason: string | undefined;
  /** SHA-256 of the secret segment of its path; undefined if the path has none. */
  readonly segmentHash: Buffer | undefined;
  readonly createdBy: string;
  readonly version: number;
  readonly retentionSeconds: number;
  readonly dedupSeconds: number;
  readonly lastSeq: number;
  /** The newest first. */
  readonly secrets: readonly SecretVersion[];
  /** How it goes with the source that it reads; undefined for a channel that others send to. */
  readonly sourceState: SourceState | undefined;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** One of the secrets that senders may prove themselves by, without the secret. */
export interface SecretVersion {
  readonly version: number;
  readonly createdAt: Date;
  /** Undefined for the newest. */
  readonly validUntil: Date | undefined;
}

/** Whether the channel must have a secret to know its sender by. */
export function needsSecret({ receiver }: ChannelConfig): boolean {
  return receiver !== undefined && ["signature", "token", "basic"].includes(receiver.authentication);
}
