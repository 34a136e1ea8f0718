import { documentOf } from "#src/eventlog/document.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";

/** An event as a server-sent one. Its id says how far each log of the stream was read. */
export async function serverSent(
  event: LoggedEvent,
  positions: ReadonlyMap<string, number>,
): Promise<Buffer> {
  const id = idOf(new Map(positions).set(event.log, event.seq));
  const document = await inTurns(onOneLine(await documentOf(event)));
  return Buffer.concat([Buffer.from(`id: ${id}\ndata: `), document, Buffer.from("\n\n")]);
}

/** How far each log was read, without an event. A client that is cut comes back after a second. */
export function heartbeat(positions: ReadonlyMap<string, number>): string {
  return `retry: 1000\nid: ${idOf(positions)}\n\n`;
}

/** Why the stream ends. */
export function lastWords(failure: { reason: string; message: string }): string {
  return `event: error\ndata: ${JSON.stringify({ error: failure.message, reason: failure.reason })}\n\n`;
}

function idOf(positions: ReadonlyMap<string, number>): string {
  return [...positions].map(([log, seq]) => `${log}:${seq}`).join(",");
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const blank = 0x20;
/** Takes about a millisecond. */
const turnLength = 512 * 1024;

/** The document with blanks for its line breaks, which end a field of the stream. JSON has them between tokens only. */
function* onOneLine(document: Buffer): LongWork<Buffer> {
  if (!document.includes(lineFeed) && !document.includes(carriageReturn)) return document;
  const line = Buffer.from(document);
  for (let at = 0; at < line.length; at += 1) {
    if (line[at] === lineFeed || line[at] === carriageReturn) line[at] = blank;
    if (at % turnLength === 0) yield;
  }
  return line;
}
