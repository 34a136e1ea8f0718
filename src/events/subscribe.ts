import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { EventService, LogStart } from "#gen/patchbay/events/v1/event_service_pb.js";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { eventToMessage } from "./messages.ts";
import type { Start } from "./start.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Sends events as messages. See the contract, `event_service.proto`. */
export function createSubscribe(subscriptions: Subscriptions): ServiceImpl<typeof EventService>["subscribe"] {
  return async function* subscribe({ logs, types }, context) {
    const reader = { call: callOf(context), caller: callerOf(context), signal: context.signal };
    const reports = subscriptions.open({ ...reader, starts: logs.map(startOf), types });
    for await (const { events, positions } of reports) {
      yield {
        events: events.map((event) => eventToMessage(event, { withData: isSmall(event) })),
        positions: [...positions].map(([log, seq]) => ({ log, seq: BigInt(seq) })),
      };
    }
  };
}

/**
 * gRPC clients take no more than 4 MiB of a message unless they are told to: a larger one would end their stream
 * whenever they come back to it. In JSON, it would hold everybody up while it is written.
 */
const mostBytes = 1024 * 1024;

function isSmall({ data }: LoggedEvent): boolean {
  return data === undefined || data.length <= mostBytes;
}

function startOf({ log, from }: LogStart): Start {
  if (from.case === "after") return { log, from: { after: Number(from.value) } };
  if (from.case === "since") return { log, from: { since: timestampDate(from.value) } };
  return { log, from: from.case ?? "latest" };
}
