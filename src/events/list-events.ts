import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ListEventsRequest,
  ListEventsResponseSchema,
} from "#gen/patchbay/events/v1/event_service_pb.js";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidPageToken, placeOfToken, tokenOfPlace } from "#src/platform/paging.ts";
import { CursorAhead, CursorOfOtherLog } from "./errors.ts";
import { bytesInMessage, eventToMessage, fitting, messageBytes, oneOfMany } from "./messages.ts";
import type { ReadableLogs } from "./readable-logs.ts";

const defaultPageSize = 100;
/** Of events that are read for one page, however few of them its filter selects. */
const maxRead = 5_000;

export function createListEvents(parts: { eventLog: EventLog; readable: ReadableLogs }) {
  const { eventLog, readable } = parts;

  return async function listEvents(
    request: ListEventsRequest,
    caller: Caller,
  ): Promise<MessageInitShape<typeof ListEventsResponseSchema>> {
    const { log, types, withData } = request;
    const given = afterOf(request);
    await readable.require(caller, { logs: [log], types });
    const { earliest, last } = await eventLog.bounds(caller.orgId, log);
    const after = given ?? earliest - 1;
    if (after > last) throw new CursorAhead(log, last);

    const size = request.pageSize || defaultPageSize;
    const events: LoggedEvent[] = [];
    let position = after;
    /** Of what is read and what is answered, whichever is more. */
    let room = messageBytes;
    while (position < last && position - after < maxRead && events.length < size && room > 0) {
      const limit = types.length === 0 ? size - events.length : 1_000;
      const read = await eventLog.read(caller.orgId, log, {
        ...{ after: position, limit, maxBytes: room },
      });
      const selected = await readable.select(caller, types, read);
      const taken = fitting(selected.slice(0, size - events.length), room);
      events.push(...taken);
      room -= Math.max(
        sumOf(read, ({ data }) => data?.length ?? 0),
        sumOf(taken, bytesInMessage),
      );
      // What did not find room on this page is where the next one begins.
      const end = taken.length < selected.length ? taken.at(-1) : read.at(-1);
      if (end === undefined) break;
      position = end.seq;
    }
    return {
      events: events.map((event) => (withData ? oneOfMany(event) : eventToMessage(event, { withData }))),
      position: BigInt(position),
      ...(position < last && { nextPageToken: tokenOfPlace([log, String(position)]) }),
    };
  };
}

function sumOf(events: readonly LoggedEvent[], of: (event: LoggedEvent) => number): number {
  return events.reduce((sum, event) => sum + of(event), 0);
}

function afterOf({ log, after, pageToken }: ListEventsRequest): number | undefined {
  const [ofLog, text = ""] = placeOfToken(pageToken, [2]) ?? [];
  if (ofLog === undefined) return after === undefined ? undefined : Number(after);
  if (ofLog !== log) throw new CursorOfOtherLog(ofLog);
  if (!/^\d{1,15}$/.test(text)) throw new InvalidPageToken();
  return Number(text);
}
