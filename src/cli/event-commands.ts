import type { Command } from "commander";
import { remote, several, type Shown } from "./remote-commands.ts";

/** Adds the commands about what receives, reads and sends events. */
export function addEventCommands(root: Command): void {
  addChannels(root.command("channels").description("what receives events from other systems"));
  addWebhooks(root.command("webhooks").description("the endpoints that events are sent to"));
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
