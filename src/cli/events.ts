import { timestampDate } from "@bufbuild/protobuf/wkt";
import { EventSchema, ListEventsResponseSchema, type Event } from "#src/client/node.ts";
import type { EventFlags } from "./event-commands.ts";
import { facts } from "./facts.ts";
import { listIn } from "./list.ts";
import { printJson } from "./print.ts";
import { ask } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { table } from "./table.ts";
import { wholeNumber } from "./whole-number.ts";

/** Prints events of a log, oldest first. */
export async function listEvents(log: string, flags: Shown & EventFlags): Promise<void> {
  const { after = "0" } = flags;
  const answer = await ask(flags, ({ events }) =>
    events.listEvents({ log, after: BigInt(wholeNumber("--after", after)), types: typesIn([log], flags) }),
  );
  if (flags.json) return printJson(ListEventsResponseSchema, answer);
  const rows = answer.events.map(rowOf);
  process.stdout.write(table(["NUMBER", "RECEIVED", "TYPE", "SUBJECT", "BYTES"], rows));
  const last = answer.events.at(-1);
  if (answer.nextPageToken !== undefined && last !== undefined)
    process.stderr.write(`patchbay: there are more; go on with --after ${last.seq}\n`);
}

/** Prints one event with its data. */
export async function showEvent(log: string, number: string, flags: Shown): Promise<void> {
  const seq = BigInt(wholeNumber("the number", number));
  const { event } = await ask(flags, ({ events }) => events.getEvent({ log, seq }));
  if (event === undefined) return;
  if (flags.json) return printJson(EventSchema, event);
  const { id, source, type, subject, time, dataContentType, verified, data } = event;
  process.stdout.write(
    facts({
      ...{ number: `${log} ${seq}`, received: receivedAt(event), id, source, type, subject, time, verified },
      "content type": dataContentType,
    }),
  );
  if (data !== undefined) process.stdout.write(`\n${textOf(data)}\n`);
}

/** The types that a flag gives, as they are selected in these logs; none for all. */
export function typesIn(logs: readonly string[], { types }: { readonly types?: string }): string[] {
  const channels = logs.filter((log) => log.startsWith("chn_"));
  return listIn(types).flatMap((type) => [
    ...(channels.length < logs.length || type.startsWith("channel:") ? [type] : []),
    // What others sent is selected by its channel only.
    ...(type.startsWith("channel:") ? [] : channels.map((channel) => `channel:${channel}/${type}`)),
  ]);
}

function rowOf(event: Event): string[] {
  return [String(event.seq), receivedAt(event), event.type, event.subject ?? "-", String(event.dataBytes)];
}

/** When it was stored. */
export function receivedAt({ receivedAt: at }: Event): string {
  return at === undefined ? "-" : timestampDate(at).toISOString();
}

/** The data as text if it is some that a terminal can show: otherwise it would obey what a stranger sent. */
export function textOf(data: Uint8Array): string {
  const text = Buffer.from(data).toString();
  return /[^\P{C}\n\r\t]|\ufffd/u.test(text)
    ? `${data.length} bytes, in Base64: ${Buffer.from(data).toString("base64")}`
    : text;
}
