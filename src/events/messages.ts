import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { EventSchema } from "#gen/patchbay/events/v1/event_pb.js";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { present } from "#src/platform/present.ts";

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
