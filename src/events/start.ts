import { CursorExpired } from "#src/eventlog/errors.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Bounds } from "#src/eventlog/reader.ts";
import { CursorAhead } from "./errors.ts";

/** A log, and where to begin to read it. */
export interface Start {
  readonly log: string;
  readonly from: "earliest" | "latest" | { readonly after: number } | { readonly since: Date };
}

/** The number behind which a reader begins. Throws CursorAhead, CursorExpired and LogNotFound. */
export async function positionOf(
  eventLog: Pick<EventLog, "bounds" | "read">,
  orgId: string,
  { log, from }: Start,
): Promise<number> {
  const bounds = await eventLog.bounds(orgId, log);
  const { earliest, last } = bounds;
  if (from === "latest") return last;
  if (from === "earliest") return earliest - 1;
  if ("since" in from) return beforeTime(eventLog, orgId, log, from.since, bounds);
  if (from.after > last) throw new CursorAhead(log, last);
  if (from.after < earliest - 1) throw new CursorExpired(log, earliest);
  return from.after;
}

/** The number before the first event that was stored at the time or later: times grow with the numbers. */
async function beforeTime(
  eventLog: Pick<EventLog, "read">,
  orgId: string,
  log: string,
  time: Date,
  { earliest, last }: Bounds,
): Promise<number> {
  let [known, end] = [earliest - 1, last];
  while (known < end) {
    const middle = Math.floor((known + end) / 2);
    const [event] = await eventLog.read(orgId, log, { after: middle, limit: 1, maxBytes: 1 });
    if (event !== undefined && event.receivedAt < time) known = middle + 1;
    else end = middle;
  }
  return known;
}
