import type { ServiceImpl } from "@connectrpc/connect";
import type { EventService } from "#gen/patchbay/events/v1/event_service_pb.js";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { callerOf, type Caller } from "#src/platform/caller.ts";
import { EventNotFound } from "./errors.ts";
import { createListEvents } from "./list-events.ts";
import { eventToMessage } from "./messages.ts";
import type { ReadableLogs } from "./readable-logs.ts";

/** Reads one event for a caller. Throws EventNotFound for one that it may not see. */
export type FindEvent = (caller: Caller, log: string, seq: number) => Promise<LoggedEvent>;

export function createFindEvent(parts: { eventLog: EventLog; readable: ReadableLogs }): FindEvent {
  const { eventLog, readable } = parts;
  return async (caller, log, seq) => {
    await readable.require(caller, { logs: [log], types: [] });
    if (seq < 1 || !Number.isSafeInteger(seq)) throw new EventNotFound(log);
    const found = await eventLog.read(caller.orgId, log, { after: seq - 1, limit: 1, maxBytes: 1 });
    const [event] = await readable.select(caller, [], found);
    if (event === undefined) throw new EventNotFound(log);
    return event;
  };
}

/** Reads logs, as lists and one by one. See the contract, `event_service.proto`. */
export function createEventService(parts: {
  eventLog: EventLog;
  readable: ReadableLogs;
  findEvent: FindEvent;
}): Pick<ServiceImpl<typeof EventService>, "listEvents" | "getEvent"> {
  const listEvents = createListEvents(parts);
  return {
    listEvents: (request, context) => listEvents(request, callerOf(context)),
    async getEvent({ log, seq }, context) {
      const event = await parts.findEvent(callerOf(context), log, Number(seq));
      return { event: eventToMessage(event, { withData: true }) };
    },
  };
}
