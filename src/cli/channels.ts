import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ChannelSchema,
  type CreateChannelRequestSchema,
  type CreateChannelResponse,
  CreateChannelResponseSchema,
  DeleteChannelResponseSchema,
  ListChannelsResponseSchema,
  type RotateChannelSecretResponse,
  RotateChannelSecretResponseSchema,
  TestChannelResponseSchema,
  type Channel,
  type PatchbayClient,
} from "#src/client/node.ts";
import { printJson } from "./print.ts";
import { ask, contentOf } from "./remote.ts";
import type { ChannelFlags, RotationFlags } from "./channel-commands.ts";
import type { Shown } from "./remote-commands.ts";
import { facts } from "./facts.ts";
import { table } from "./table.ts";
import { timeText } from "./time-text.ts";
import { wholeNumber } from "./whole-number.ts";

/** Prints the channels of the organisation, oldest first. */
export async function listChannels(flags: Shown): Promise<void> {
  const channels = await ask(flags, allChannels);
  if (flags.json) return printJson(ListChannelsResponseSchema, { channels });
  const rows = channels.map((one) => [one.id, one.name, senderOf(one), one.state, String(one.lastSeq)]);
  process.stdout.write(table(["ID", "NAME", "FROM", "STATE", "EVENTS"], rows));
}

/** Prints one channel. */
export async function showChannel(id: string, flags: Shown): Promise<void> {
  const { channel } = await ask(flags, ({ channels }) => channels.getChannel({ id }));
  if (channel !== undefined) show(channel, flags);
}

/** Makes a channel, and prints the address and the secret to give to its sender: this once. */
export async function createChannel(name: string, flags: Shown & ChannelFlags): Promise<void> {
  const { authentication } = flags;
  const wanted = {
    ...{ name, source: sourceOf(flags), ...(await secretIn(flags)) },
    ...(authentication !== undefined && { receiver: { authentication } }),
  };
  const made = await ask(flags, ({ channels }) => channels.createChannel(wanted));
  if (flags.json) return printJson(CreateChannelResponseSchema, made);
  showOnce(made);
}

/** Stops what reads the channel; what senders send is stored all the same. */
export async function pauseChannel(id: string, flags: Shown): Promise<void> {
  const { channel } = await ask(flags, ({ channels }) => channels.pauseChannel({ id }));
  if (channel !== undefined) show(channel, flags);
}

/** Ends a pause, or what blocks the channel. */
export async function resumeChannel(id: string, flags: Shown): Promise<void> {
  const { channel } = await ask(flags, ({ channels }) => channels.resumeChannel({ id }));
  if (channel !== undefined) show(channel, flags);
}

/** Gives the channel another secret, and prints it if Patchbay made it: this once. */
export async function rotateChannelSecret(id: string, flags: Shown & RotationFlags): Promise<void> {
  const { graceSeconds } = flags;
  const wanted = {
    id,
    ...(await secretIn(flags)),
    ...(graceSeconds !== undefined && { graceSeconds: wholeNumber("--grace-seconds", graceSeconds) }),
  };
  const rotated = await ask(flags, ({ channels }) => channels.rotateChannelSecret(wanted));
  if (flags.json) return printJson(RotateChannelSecretResponseSchema, rotated);
  showOnce(rotated);
}

/** Stores an event in the channel, to see that its readers get it. */
export async function testChannel(id: string, flags: Shown): Promise<void> {
  const tested = await ask(flags, ({ channels }) => channels.testChannel({ id }));
  if (flags.json) return printJson(TestChannelResponseSchema, tested);
  process.stdout.write(`stored as number ${tested.seq}, ${tested.latencyMs} ms\n`);
}

/** Deletes a channel, and with it its events. */
export async function removeChannel(id: string, flags: Shown): Promise<void> {
  const answer = await ask(flags, ({ channels }) => channels.deleteChannel({ id }));
  if (flags.json) printJson(DeleteChannelResponseSchema, answer);
}

type Wanted = MessageInitShape<typeof CreateChannelRequestSchema>;

function sourceOf({
  from = "",
  connection,
  path = "",
  items = "",
}: ChannelFlags): NonNullable<Wanted["source"]> {
  const isRead = from === "sse" || from === "poll";
  if (!isRead && connection !== undefined)
    throw new Error("--connection is for channels that read their source: --from sse, or --from poll");
  if (isRead && connection === undefined)
    throw new Error("--connection: name the connection through which the source is read");
  if (from === "sse") return { case: "sse", value: { connection: connection ?? "", path } };
  if (from === "poll") return { case: "poll", value: { connection: connection ?? "", path, items } };
  if (from === "cloudevents") return { case: "cloudEvents", value: {} };
  return { case: "webhook", value: { preset: from } };
}

async function secretIn({ secretFile }: { readonly secretFile?: string }): Promise<{ secret?: string }> {
  if (secretFile === undefined) return {};
  return { secret: (await contentOf(secretFile)).toString().trim() };
}

function showOnce({
  channel,
  url,
  secret,
  verifyToken,
}: CreateChannelResponse | RotateChannelSecretResponse): void {
  process.stdout.write(facts({ id: channel?.id, url, secret, "verify token": verifyToken }));
  if (url !== "") process.stderr.write("patchbay: give these to the sender; they are not shown again\n");
}

async function allChannels({ channels }: PatchbayClient): Promise<Channel[]> {
  const found: Channel[] = [];
  for (let pageToken: string | undefined = ""; pageToken !== undefined;) {
    const page = await channels.listChannels({ pageToken });
    found.push(...page.channels);
    pageToken = page.nextPageToken;
  }
  return found;
}

function show(channel: Channel, { json }: Shown): void {
  if (json) return printJson(ChannelSchema, channel);
  const { id, name, state, stateReason, lastSeq, retentionSeconds, createdAt, receiver, sourceState } =
    channel;
  process.stdout.write(
    facts({
      ...{ id, name, from: senderOf(channel), proof: receiver?.authentication, state, because: stateReason },
      "last error": sourceState?.lastError,
      events: String(lastSeq),
      kept: `${retentionSeconds / 86_400} days`,
      created: timeText(createdAt),
    }),
  );
}

function senderOf({ kind, source }: Channel): string {
  return source.case === "webhook" ? source.value.preset : kind;
}
