import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type {
  PolledSourceSchema,
  SourceStateSchema,
  StreamSourceSchema,
} from "#gen/patchbay/events/v1/channel_pb.js";
import { present } from "#src/platform/present.ts";
import type { PollConfig, StreamConfig } from "./source.ts";
import type { SourceState } from "./state.ts";

/** An event stream as callers see it. */
export function streamMessage(
  { path, query, idleSeconds }: StreamConfig,
  connection: string,
): MessageInitShape<typeof StreamSourceSchema> {
  return { connection, path, query: [...query], idleSeconds };
}

/** A list as callers see it. */
export function pollMessage(
  { query, isTimeCursor, next, ...config }: PollConfig,
  connection: string,
): MessageInitShape<typeof PolledSourceSchema> {
  return {
    ...config,
    ...{ connection, query: [...query], cursorIsTime: isTimeCursor },
    ...(next?.by === "link" && { nextByLink: true }),
    ...(next?.by === "pointer" && { next: next.pointer, nextParameter: next.parameter ?? "" }),
  };
}

/** How reading goes, as callers see it. */
export function stateMessage(state: SourceState): MessageInitShape<typeof SourceStateSchema> {
  const { cursor, dueAt, failures, lastReadAt, lastErrorAt } = state;
  return present({
    cursor,
    lastReadAt: lastReadAt && timestampFromDate(lastReadAt),
    isBeingRead: state.isBeingRead,
    dueAt: timestampFromDate(dueAt),
    failures,
    lastError: state.lastError,
    lastErrorAt: lastErrorAt && timestampFromDate(lastErrorAt),
    waitsFor: state.waitsFor,
  });
}
