import type { EventLog } from "#src/eventlog/eventlog.ts";

/** Reads as the logs do, and each stretch once: endpoints that were woken together stand at the same place of a log. */
export function createReadAhead(eventLog: Pick<EventLog, "read">): EventLog["read"] {
  const stretches = new Map<string, ReturnType<EventLog["read"]>>();
  return (orgId, log, stretch) => {
    const name = `${orgId}/${log}/${stretch.after}/${stretch.limit}`;
    const known = stretches.get(name) ?? eventLog.read(orgId, log, stretch);
    stretches.set(name, known);
    return known;
  };
}
