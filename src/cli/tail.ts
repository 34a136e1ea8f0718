import { create, toJsonString } from "@bufbuild/protobuf";
import { EventSchema, type Event, type FollowOptions } from "#src/client/node.ts";
import type { TailFlags } from "./event-commands.ts";
import { receivedAt, textOf, typesIn } from "./events.ts";
import { printable } from "./print.ts";
import { ask } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { untilSignal } from "./signals.ts";
import { wholeNumber } from "./whole-number.ts";

/** Prints events of logs as they come, until a signal or the end of whoever reads; then, where to go on. */
export async function tailEvents(logs: readonly string[], flags: Shown & TailFlags): Promise<void> {
  const ending = new AbortController();
  void untilSignal().then(() => ending.abort());
  // `tail | head` has read enough.
  process.stdout.once("error", () => ending.abort());
  const from = placeIn(logs, flags);
  const wanted = {
    logs,
    types: typesIn(logs, flags),
    signal: ending.signal,
    ...(from !== undefined && { from }),
  };
  const reached = new Map<string, bigint>();
  try {
    await ask(flags, async ({ events }) => {
      for await (const event of events.follow(wanted)) {
        process.stdout.write(`${lineOf(event, flags)}\n`);
        reached.set(event.log, event.seq);
      }
    });
  } finally {
    if (reached.size > 0) process.stderr.write(`patchbay: go on with --from ${placeText(logs, reached)}\n`);
  }
}

/** Where to begin. A number alone is of the one log. */
function placeIn(logs: readonly string[], { from }: TailFlags): FollowOptions["from"] {
  if (from === undefined || from === "earliest") return from;
  const [only = ""] = logs;
  if (logs.length === 1 && !from.includes(":")) return { [only]: wholeNumber("--from", from) };
  const positions = from.split(",").map((text): [string, number] => {
    const [log = "", number = ""] = text.split(":");
    if (!logs.includes(log))
      throw new Error("--from: name the log of each number, such as audit:42,service:7");
    return [log, wholeNumber("--from", number)];
  });
  return Object.fromEntries(positions);
}

function placeText(logs: readonly string[], reached: ReadonlyMap<string, bigint>): string {
  if (logs.length === 1) return [...reached.values()].join();
  return [...reached].map(([log, seq]) => `${log}:${seq}`).join(",");
}

/** One line for an event, and one for its data if that is wanted. */
export function lineOf(event: Event, { json, data: withData }: Pick<Shown, "json"> & TailFlags): string {
  if (json) return toJsonString(EventSchema, create(EventSchema, event), { alwaysEmitImplicit: true });
  const { log, seq, type, subject = "", data } = event;
  const line = printable(`${receivedAt(event)}  ${log} ${seq}  ${type}  ${subject}`.trimEnd());
  // In one line: what a stranger sent cannot look like the line of another event.
  return withData && data !== undefined ? `${line}\n  ${printable(textOf(data))}` : line;
}
