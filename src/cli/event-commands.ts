import type { Command } from "commander";
import { remote, several, type Shown } from "./remote-commands.ts";

/** Adds the commands about what receives, reads and sends events. */
export function addEventCommands(root: Command): void {
  addChannels(root.command("channels").description("what receives events from other systems"));
  const webhooks = root.command("webhooks").description("the endpoints that events are sent to");
  addWebhooks(webhooks);
  addDeliveries(webhooks);
  addEvents(root.command("events").description("what channels received, and what Patchbay says of itself"));
}

function addChannels(channels: Command): void {
  remote(channels.command("list"))
    .description("the channels of the organisation, and how many events each received")
    .action(async (flags: Shown) => {
      const { listChannels } = await import("./channels.ts");
      await listChannels(flags);
    });

  remote(channels.command("get"))
    .description("one channel")
    .argument("<channel>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { showChannel } = await import("./channels.ts");
      await showChannel(id, flags);
    });

  remote(channels.command("create"))
    .description("make a channel; prints the address and the secret to give to its sender, once")
    .argument("<name>", "what people call it")
    .option("--from <sender>", "a vendor such as github or stripe, or cloudevents")
    .option("--authentication <way>", "another way for senders to prove themselves, such as bearer or none")
    .option("--secret-file <file>", "holds the secret that the vendor shows you; - for stdin")
    .action(async (name: string, flags: Shown & ChannelFlags) => {
      const { createChannel } = await import("./channels.ts");
      await createChannel(name, flags);
    });

  remote(channels.command("rm"))
    .description("delete a channel, and with it its events")
    .argument("<channel>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { removeChannel } = await import("./channels.ts");
      await removeChannel(id, flags);
    });
}

function addWebhooks(webhooks: Command): void {
  remote(webhooks.command("list"))
    .description("the endpoints of the organisation")
    .action(async (flags: Shown) => {
      const { listEndpoints } = await import("./webhooks.ts");
      await listEndpoints(flags);
    });

  remote(webhooks.command("get"))
    .description("one endpoint")
    .argument("<endpoint>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { showEndpoint } = await import("./webhooks.ts");
      await showEndpoint(id, flags);
    });

  remote(webhooks.command("create"))
    .description("register an endpoint; prints the secret that its deliveries are signed with, once")
    .argument("<url>", "https://…")
    .requiredOption("--types <list>", "such as api_key.*,channel:chn_…/*")
    .option("--description <text>", "what people are to know of it")
    .option("--ordering <rule>", "what a failed event holds up: none, subject or log")
    .option("--format <format>", "json, cloudevents or binary")
    .option("--header <name=file>", "a header of its own; - for stdin; may be given several times", several)
    .action(async (url: string, flags: Shown & WebhookFlags) => {
      const { createEndpoint } = await import("./webhooks.ts");
      await createEndpoint(url, flags);
    });

  remote(webhooks.command("rm"))
    .description("delete an endpoint, and what waits for it")
    .argument("<endpoint>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { removeEndpoint } = await import("./webhooks.ts");
      await removeEndpoint(id, flags);
    });
}

function addDeliveries(webhooks: Command): void {
  remote(webhooks.command("pause"))
    .description("send nothing until it is resumed; nothing is lost that is still kept then")
    .argument("<endpoint>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { pauseEndpoint } = await import("./webhooks.ts");
      await pauseEndpoint(id, flags);
    });

  remote(webhooks.command("resume"))
    .description("go on where it stood")
    .argument("<endpoint>", "its id")
    .option("--now", "with what comes from now on, and without what came meanwhile")
    .action(async (id: string, flags: Shown & { now?: true }) => {
      const { resumeEndpoint } = await import("./webhooks.ts");
      await resumeEndpoint(id, flags);
    });

  remote(webhooks.command("rotate"))
    .description("make a new secret, printed once; deliveries are signed with both for a while")
    .argument("<endpoint>", "its id")
    .option("--grace-seconds <seconds>", "for how long; 0 ends the previous secret now (default: 24 hours)")
    .action(async (id: string, flags: Shown & { graceSeconds?: string }) => {
      const { rotateSecret } = await import("./webhooks.ts");
      await rotateSecret(id, flags);
    });

  remote(webhooks.command("attempts"))
    .description("what came of the latest tries, newest first")
    .argument("<endpoint>", "its id")
    .option("--failed", "only failures")
    .action(async (id: string, flags: Shown & { failed?: true }) => {
      const { listAttempts } = await import("./webhooks.ts");
      await listAttempts(id, flags);
    });

  remote(webhooks.command("dead"))
    .description("the events that were given up after their last try")
    .argument("<endpoint>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { listDead } = await import("./webhooks.ts");
      await listDead(id, flags);
    });

  remote(webhooks.command("replay"))
    .description("send events again, also those that were delivered")
    .argument("<endpoint>", "its id")
    .argument("<log>", "audit, service or the id of a channel")
    .argument("<from>", "the number of the first event")
    .argument("<to>", "the number of the last")
    .option("--new-id", "under new ids, for receivers that would drop what they have")
    .action(async (id: string, log: string, from: string, to: string, flags: Shown & { newId?: true }) => {
      const { replay } = await import("./webhooks.ts");
      await replay({ id, log, from, to }, flags);
    });
}

function addEvents(events: Command): void {
  remote(events.command("list"))
    .description("events of a log, oldest first")
    .argument("<log>", "audit, service or the id of a channel")
    .option("--after <number>", "only those behind this number")
    .option("--types <list>", "only these types, such as order.*")
    .action(async (log: string, flags: Shown & EventFlags) => {
      const { listEvents } = await import("./events.ts");
      await listEvents(log, flags);
    });

  remote(events.command("get"))
    .description("one event, with its data")
    .argument("<log>", "audit, service or the id of a channel")
    .argument("<number>", "its number")
    .action(async (log: string, seq: string, flags: Shown) => {
      const { showEvent } = await import("./events.ts");
      await showEvent(log, seq, flags);
    });
}

/** Which events are asked for. */
export interface EventFlags {
  readonly after?: string;
  readonly types?: string;
}

/** What a channel is made with. */
export interface ChannelFlags {
  readonly from?: string;
  readonly authentication?: string;
  readonly secretFile?: string;
}

/** What an endpoint is registered with. */
export interface WebhookFlags {
  readonly types?: string;
  readonly description?: string;
  readonly ordering?: string;
  readonly format?: string;
  readonly header?: readonly string[];
}
