import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ResumeWebhookEndpointRequest } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { CursorExpired } from "#src/eventlog/errors.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { positionOf } from "#src/events/start.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Endpoint, Position } from "./endpoint.ts";

/**
 * Where the endpoint goes on: the positions that it moves to. None means where it stood. Throws CursorExpired rather than
 * skip what is no longer kept: whoever resumes it decides about that.
 */
export async function positionsFrom(
  eventLog: EventLog,
  { orgId, positions }: Pick<Endpoint, "orgId" | "positions">,
  from: ResumeWebhookEndpointRequest["from"],
): Promise<readonly Position[]> {
  const logs = positions.map(({ log }) => log);
  switch (from.case) {
    case undefined:
      for (const { log, seq } of positions) await positionOf(eventLog, orgId, { log, from: { after: seq } });
      return [];
    case "now":
      return Promise.all(
        logs.map(async (log) => ({ log, seq: await positionOf(eventLog, orgId, { log, from: "latest" }) })),
      );
    case "since":
      return Promise.all(logs.map((log) => positionSince(eventLog, orgId, log, timestampDate(from.value))));
    case "after": {
      const { log } = from.value;
      if (!logs.includes(log)) {
        throw new InvalidRequest(`after.log: the endpoint reads ${logs.join(", ")}; give one of them`);
      }
      const seq = await positionOf(eventLog, orgId, { log, from: { after: Number(from.value.seq) } });
      return [{ log, seq }];
    }
  }
}

async function positionSince(eventLog: EventLog, orgId: string, log: string, since: Date): Promise<Position> {
  const seq = await positionOf(eventLog, orgId, { log, from: { since } });
  const { earliest } = await eventLog.bounds(orgId, log);
  // What came between the moment and the first event that is kept would be skipped.
  if (earliest > 1 && seq < earliest) throw new CursorExpired(log, earliest);
  return { log, seq };
}
