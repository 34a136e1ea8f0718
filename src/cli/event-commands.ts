import type { Command } from "commander";
import { remote, type Shown } from "./remote-commands.ts";

/** Adds the commands about what logs hold. */
export function addEventCommands(root: Command): void {
  const events = root
    .command("events")
    .description("what channels received, and what Patchbay says of itself");

  remote(events.command("list"))
    .description("events of a log, oldest first")
    .argument("<log>", "audit, service or the id of a channel")
    .option("--after <number>", "only those behind this number")
    .option("--types <list>", "only these types, such as order.*; in channels, those that their senders gave")
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

  remote(events.command("tail"))
    .description("print events as they come, a line each, until Ctrl-C")
    .argument("<log...>", "audit, service or ids of channels")
    .option(
      "--from <place>",
      "earliest, or behind the number of the last event (default: what comes from now on)",
    )
    .option("--types <list>", "only these types, such as order.*; in channels, those that their senders gave")
    .option("--data", "with the data of each")
    .action(async (logs: string[], flags: Shown & TailFlags) => {
      const { tailEvents } = await import("./tail.ts");
      await tailEvents(logs, flags);
    });
}

/** Which events are asked for. */
export interface EventFlags {
  readonly after?: string;
  readonly types?: string;
}

/** Which events are followed, and how they are shown. */
export interface TailFlags {
  readonly from?: string;
  readonly types?: string;
  readonly data?: true;
}
