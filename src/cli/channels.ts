import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  ChannelSchema,
  type CreateChannelRequestSchema,
  CreateChannelResponseSchema,
  DeleteChannelResponseSchema,
  ListChannelsResponseSchema,
  type Channel,
  type PatchbayClient,
} from "#src/client/node.ts";
import { printJson } from "./print.ts";
import { ask, contentOf } from "./remote.ts";
import type { ChannelFlags } from "./event-commands.ts";
import type { Shown } from "./remote-commands.ts";
import { facts } from "./facts.ts";
import { table } from "./table.ts";

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
  const { from, secretFile } = flags;
  const secret = secretFile && (await contentOf(secretFile)).toString().trim();
  const { authentication = "" } = flags;
  const made = await ask(flags, ({ channels }) =>
    channels.createChannel({
      name,
      source: sourceOf(from),
      receiver: { authentication },
      ...(secret && { secret }),
    }),
  );
  if (flags.json) return printJson(CreateChannelResponseSchema, made);
  process.stdout.write(facts({ id: made.channel?.id, url: made.url, secret: made.secret }));
  process.stderr.write("patchbay: give these to the sender; they are not shown again\n");
}

/** Deletes a channel, and with it its events. */
export async function removeChannel(id: string, flags: Shown): Promise<void> {
  const answer = await ask(flags, ({ channels }) => channels.deleteChannel({ id }));
  if (flags.json) printJson(DeleteChannelResponseSchema, answer);
}

function sourceOf(from = ""): NonNullable<MessageInitShape<typeof CreateChannelRequestSchema>["source"]> {
  if (from === "cloudevents") return { case: "cloudEvents", value: {} };
  return { case: "webhook", value: { preset: from } };
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
  const { id, name, state, stateReason, lastSeq, retentionSeconds, createdAt, receiver } = channel;
  process.stdout.write(
    facts({
      ...{ id, name, from: senderOf(channel), proof: receiver?.authentication, state, because: stateReason },
      events: String(lastSeq),
      kept: `${retentionSeconds / 86_400} days`,
      created: timeText(createdAt),
    }),
  );
}

function senderOf({ kind, source }: Channel): string {
  return source.case === "webhook" ? source.value.preset : kind;
}

function timeText(time: Timestamp | undefined): string {
  return time === undefined ? "never" : timestampDate(time).toISOString();
}
