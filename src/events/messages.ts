import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { EventSchema } from "#gen/patchbay/events/v1/event_pb.js";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { present } from "#src/platform/present.ts";

/**
 * gRPC clients take no more than 4 MiB of a message unless they are told to, and one that refuses a message is answered
 * with the same one again. Large data has GetEvent, which answers nothing else.
 */
const mostInlineBytes = 1024 * 1024;
/** A message of events ends at this, so that with the last of them it stays below that limit. */
export const messageBytes = 2 * 1024 * 1024;

/** As many of the events as a message still has room for: one at least, unless it has none. */
export function fitting(events: readonly LoggedEvent[], room = messageBytes): readonly LoggedEvent[] {
  let left = room;
  const end = events.findIndex((event) => {
    if (left <= 0) return true;
    left -= bytesInMessage(event);
    return false;
  });
  return end === -1 ? events : events.slice(0, end);
}

/** What the event takes in a message with its data, at most. */
export function bytesInMessage(event: LoggedEvent): number {
  const { id, source, type, extensions, data } = event;
  const { subject = "", time = "", contentType = "", masked = "" } = event;
  const texts = [id, source, type, subject, time, contentType, masked, ...Object.entries(extensions).flat()];
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  return perEventBytes + 3 * characters + (isInline(data) ? (data?.length ?? 0) : 0);
}

const perEventBytes = 200;

function isInline(data: Buffer | undefined): boolean {
  return data === undefined || data.length <= mostInlineBytes;
}

/** One of many events as it is answered, without data that is too large for a message with others. */
export function oneOfMany(event: LoggedEvent): MessageInitShape<typeof EventSchema> {
  return eventToMessage(event, { withData: isInline(event.data) });
}

/** An event as it is answered. */
export function eventToMessage(
  event: LoggedEvent,
  { withData }: { withData: boolean },
): MessageInitShape<typeof EventSchema> {
  const { log, seq, receivedAt, id, source, type, extensions, verified, data } = event;
  const { subject, time, contentType: dataContentType, masked } = event;
  return {
    ...{ log, seq: BigInt(seq), receivedAt: timestampFromDate(receivedAt), id, source, type },
    ...{ extensions: { ...extensions }, verified, dataBytes: data?.length ?? 0 },
    ...present({ subject, time, dataContentType, masked, data: withData ? data : undefined }),
  };
}
