import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { EventService, LogStart } from "#gen/patchbay/events/v1/event_service_pb.js";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { takenInTime } from "#src/platform/taken-in-time.ts";
import { fitting, oneOfMany } from "./messages.ts";
import type { Start } from "./start.ts";
import type { Report, Subscriptions } from "./subscriptions.ts";

/** Sends events as messages. See the contract, `event_service.proto`. */
export function createSubscribe(parts: {
  subscriptions: Subscriptions;
  monotonicNow: () => number;
}): ServiceImpl<typeof EventService>["subscribe"] {
  const { subscriptions, monotonicNow } = parts;

  return async function* subscribe({ logs, types }, context) {
    const reader = { call: callOf(context), caller: callerOf(context), signal: context.signal };
    const reports = subscriptions.open({ ...reader, starts: logs.map(startOf), types });
    for await (const report of reports) {
      for (const { events, positions } of inMessages(report)) {
        using _ = takenInTime(reader.call, monotonicNow);
        yield {
          events: events.map(oneOfMany),
          positions: [...positions].map(([log, seq]) => ({ log, seq: BigInt(seq) })),
        };
      }
    }
  };
}

/** The report in as many parts as it takes messages. */
function* inMessages({ events, positions }: Report): Iterable<Report> {
  let rest = events;
  for (;;) {
    const part = fitting(rest);
    rest = rest.slice(part.length);
    const last = part.at(-1);
    if (last === undefined || rest.length === 0) {
      yield { events: part, positions };
      return;
    }
    yield { events: part, positions: new Map(positions).set(last.log, last.seq) };
  }
}

function startOf({ log, from }: LogStart): Start {
  if (from.case === "after") return { log, from: { after: Number(from.value) } };
  if (from.case === "since") return { log, from: { since: timestampDate(from.value) } };
  return { log, from: from.case ?? "latest" };
}
