import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { ResumeWebhookEndpointRequest } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { CursorExpired } from "#src/eventlog/errors.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Endpoint, Position } from "./endpoint.ts";

type Logs = Pick<EventLog, "bounds" | "read">;

/**
 * Where the endpoint goes on: the positions that it moves to. None means where it stood. Throws CursorExpired rather than
 * skip what is no longer kept: whoever resumes it decides about that.
 */
export async function positionsFrom(
  logs: Logs,
  { orgId, positions }: Pick<Endpoint, "orgId" | "positions">,
  from: ResumeWebhookEndpointRequest["from"],
): Promise<readonly Position[]> {
  switch (from.case) {
    case undefined:
      for (const position of positions) await requireKept(logs, orgId, position);
      return [];
    case "now":
      return Promise.all(
        positions.map(async ({ log }) => ({ log, seq: (await logs.bounds(orgId, log)).last })),
      );
    case "since": {
      const moment = timestampDate(from.value);
      return Promise.all(
        positions.map(async ({ log }) => ({ log, seq: await lastBefore(logs, orgId, log, moment) })),
      );
    }
    case "after": {
      const position = { log: from.value.log, seq: Number(from.value.seq) };
      if (!positions.some(({ log }) => log === position.log)) {
        const known = positions.map(({ log }) => log).join(", ");
        throw new InvalidRequest(`after.log: the endpoint reads ${known}; give one of them`);
      }
      await requireKept(logs, orgId, position);
      return [position];
    }
  }
}

async function requireKept(logs: Logs, orgId: string, { log, seq }: Position): Promise<void> {
  const { earliest, last } = await logs.bounds(orgId, log);
  if (seq + 1 < earliest) throw new CursorExpired(log, earliest);
  if (seq > last) throw new InvalidRequest(`after.seq: ${log} ends with ${last}; give at most that`);
}

/** The number of the last event that was stored before the moment, found by halving: numbers rise with time. */
async function lastBefore(logs: Logs, orgId: string, log: string, moment: Date): Promise<number> {
  const { earliest, last } = await logs.bounds(orgId, log);
  let [low, high] = [earliest - 1, last];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const [event] = await logs.read(orgId, log, { after: middle - 1, limit: 1, maxBytes: 1 });
    if (event !== undefined && event.receivedAt < moment) low = middle;
    else high = middle - 1;
  }
  // What came between the moment and the first event that is kept was lost.
  if (low === earliest - 1 && earliest > 1) throw new CursorExpired(log, earliest);
  return low;
}
