import { CursorExpired } from "#src/eventlog/errors.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { bytesInMessage, fitting, messageBytes } from "../messages.ts";
import type { Group } from "./group.ts";

/** Events by their numbers, and what of them could not be read. */
export interface ReadEvents {
  readonly read: ReadonlyMap<number, LoggedEvent>;
  /** There was no room for them. */
  readonly left: readonly number[];
  /** The log no longer keeps them. */
  readonly expired: readonly number[];
}

/** Reads as many events as fit into a message, by their numbers: those that follow each other together, and one at least. */
export async function readEach(
  eventLog: Pick<EventLog, "read">,
  { orgId, log }: Pick<Group, "orgId" | "log">,
  seqs: readonly number[],
): Promise<ReadEvents> {
  const read = new Map<number, LoggedEvent>();
  const expired: number[] = [];
  let room = messageBytes;
  let rest = seqs;
  while (rest.length > 0 && room > 0) {
    const [first = 0] = rest;
    const run = rest.filter((seq, i) => seq === first + i);
    const stretch = { after: first - 1, limit: run.length, maxBytes: room };
    const events = await eventLog.read(orgId, log, stretch).catch((error: unknown) => {
      if (error instanceof CursorExpired) return undefined;
      throw error;
    });
    if (events === undefined) expired.push(first);
    const fit = events && fitting(events, room);
    for (const event of fit ?? []) {
      read.set(event.seq, event);
      room -= bytesInMessage(event);
    }
    const done = fit?.length ?? 1;
    if (done === 0) break;
    rest = rest.slice(done);
  }
  return { read, left: rest, expired };
}
