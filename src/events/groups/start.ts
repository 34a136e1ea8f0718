import type { EventLog } from "#src/eventlog/eventlog.ts";
import { GroupPositionAhead } from "./errors.ts";

/** Where a group begins, or goes on. */
export type Start =
  | { readonly at: "earliest" | "latest" }
  | { readonly at: "after"; readonly seq: number }
  | { readonly at: "since"; readonly time: Date };

/** The number behind which the group goes on. Throws for one that the log does not reach, or no longer keeps. */
export async function positionOf(
  eventLog: Pick<EventLog, "bounds" | "read">,
  orgId: string,
  log: string,
  start: Start,
): Promise<number> {
  const { earliest, last } = await eventLog.bounds(orgId, log);
  switch (start.at) {
    case "earliest":
      return earliest - 1;
    case "latest":
      return last;
    case "after":
      if (start.seq > last) throw new GroupPositionAhead(log, last);
      // Refuses what is no longer kept.
      await eventLog.read(orgId, log, { after: start.seq, limit: 1, maxBytes: 1 });
      return start.seq;
    case "since":
      return lastBefore(eventLog, { orgId, log, earliest, last, time: start.time });
  }
}

/** The last number of an event that was stored before the time: they are in the order in which they were stored. */
async function lastBefore(
  eventLog: Pick<EventLog, "read">,
  {
    orgId,
    log,
    earliest,
    last,
    time,
  }: { orgId: string; log: string; earliest: number; last: number; time: Date },
): Promise<number> {
  let [before, from] = [earliest - 1, last + 1];
  while (from - before > 1) {
    const middle = Math.floor((before + from) / 2);
    const [event] = await eventLog.read(orgId, log, { after: middle - 1, limit: 1, maxBytes: 1 });
    if (event === undefined || event.receivedAt >= time) from = middle;
    else before = middle;
  }
  return before;
}
