import type { Command } from "commander";
import { remote, type Shown } from "./remote-commands.ts";

/** Adds the commands about what receives events from other systems. */
export function addChannelCommands(root: Command): void {
  const channels = root.command("channels").description("what receives events from other systems");
  addChannels(channels);
  addReceiving(channels);
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
    .option("--from <sender>", "a vendor such as github or stripe, or cloudevents, sse or poll")
    .option("--authentication <way>", "another way for senders to prove themselves, such as bearer or none")
    .option("--secret-file <file>", "holds the secret that the vendor shows you; - for stdin")
    .option("--connection <connection>", "with sse and poll: through which the source is read")
    .option("--path <path>", "with sse and poll: behind the base URL of the connection")
    .option("--items <pointer>", "with poll: where the answer has its list, such as /data")
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

function addReceiving(channels: Command): void {
  remote(channels.command("pause"))
    .description(
      "stop what reads it, and its own reading of a source; what senders send is stored all the same",
    )
    .argument("<channel>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { pauseChannel } = await import("./channels.ts");
      await pauseChannel(id, flags);
    });

  remote(channels.command("resume"))
    .description("end a pause, or what blocks it, if that is mended")
    .argument("<channel>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { resumeChannel } = await import("./channels.ts");
      await resumeChannel(id, flags);
    });

  remote(channels.command("rotate"))
    .description("give it another secret; the previous one is taken as well for a while")
    .argument("<channel>", "its id")
    .option("--secret-file <file>", "holds the secret that the vendor shows you; - for stdin")
    .option("--grace-seconds <seconds>", "for how long; 0 ends the previous secret now (default: 24 hours)")
    .action(async (id: string, flags: Shown & RotationFlags) => {
      const { rotateChannelSecret } = await import("./channels.ts");
      await rotateChannelSecret(id, flags);
    });

  remote(channels.command("test"))
    .description("store an event of the type patchbay.test in it, to see that its readers get it")
    .argument("<channel>", "its id")
    .action(async (id: string, flags: Shown) => {
      const { testChannel } = await import("./channels.ts");
      await testChannel(id, flags);
    });
}

/** What a channel is made with. */
export interface ChannelFlags {
  readonly from?: string;
  readonly authentication?: string;
  readonly secretFile?: string;
  readonly connection?: string;
  readonly path?: string;
  readonly items?: string;
}

/** How a channel gets another secret. */
export interface RotationFlags {
  readonly secretFile?: string;
  readonly graceSeconds?: string;
}
