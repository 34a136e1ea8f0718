import type { Command } from "commander";
import { remote, several, type Shown } from "./remote-commands.ts";

/** Adds the commands about the endpoints that events are sent to. */
export function addWebhookCommands(root: Command): void {
  const webhooks = root.command("webhooks").description("the endpoints that events are sent to");
  addEndpoints(webhooks);
  addDeliveries(webhooks);
}

function addEndpoints(webhooks: Command): void {
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

  remote(webhooks.command("types"))
    .description("give an endpoint other types; your key answers for them from then on")
    .argument("<endpoint>", "its id")
    .argument("<types>", "such as api_key.*,channel:chn_…/*")
    .action(async (id: string, types: string, flags: Shown) => {
      const { changeTypes } = await import("./webhooks.ts");
      await changeTypes(id, types, flags);
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
  remote(webhooks.command("test"))
    .description("send webhook.ping to an endpoint, and see what it answers")
    .argument("<endpoint>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { testEndpoint } = await import("./webhooks.ts");
      await testEndpoint(id, flags);
    });

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

  remote(webhooks.command("redeliver"))
    .description("send one event again, also one that was given up")
    .argument("<endpoint>", "its id")
    .argument("<log>", "audit, service or the id of a channel")
    .argument("<number>", "the number of the event")
    .option("--new-id", "under a new id, for a receiver that would drop what it has")
    .action(async (id: string, log: string, number: string, flags: Shown & { newId?: true }) => {
      const { redeliver } = await import("./webhooks.ts");
      await redeliver({ id, log, number }, flags);
    });
}

/** What an endpoint is registered with. */
export interface WebhookFlags {
  readonly types?: string;
  readonly description?: string;
  readonly ordering?: string;
  readonly format?: string;
  readonly header?: readonly string[];
}
