import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { randomBytes } from "node:crypto";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import { unchanged, type Tx } from "#src/db/database.ts";
import { eventOfRecord } from "#src/eventlog/audit-events.ts";
import { CursorExpired } from "#src/eventlog/errors.ts";
import { auditLog } from "#src/eventlog/event.ts";
import { selectedType } from "#src/eventlog/selection.ts";
import { readAudit, readTypes } from "#src/eventlog/store.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { queueAgain } from "./delivery-store.ts";
import { activeTypes, type Endpoint } from "./endpoint.ts";
import { EndpointNotFound, EndpointPaused, EventNotSelected } from "./errors.ts";
import { logsOf } from "./event-types.ts";
import type { WebhookParts } from "./service.ts";
import { getEndpoint, getEndpointForUpdate } from "./store.ts";

/** A receiver may not expect what comes beside the new events. */
const rate = { limit: 10, windowMs: 60_000 };
/** How many numbers one replay spans. */
const mostNumbers = 1_000;

/** A part of a log that is to be sent again. */
interface Range {
  readonly log: string;
  readonly from: number;
  readonly to: number;
  readonly newId: boolean;
}

/** Sends again what was sent. See the contract. */
export function createRedelivery(
  parts: WebhookParts,
): Pick<ServiceImpl<typeof WebhookService>, "replayEvents" | "redeliverEvent"> {
  const { database, change, eventLog, callLimiter, now } = parts;

  /** Queues what the endpoint selects of the range, and answers how much that is. */
  async function sendAgain(
    context: HandlerContext,
    id: string,
    action: "webhook.replay" | "webhook.redeliver",
    range: Range,
  ): Promise<number> {
    const call = callOf(context);
    const caller = callerOf(context);
    const { orgId } = caller;
    const { log, from, to, newId } = range;
    await database.read(orgId, async (tx) => requireSending(await getEndpoint(tx, caller, id), log));
    const budget = await callLimiter.spend(`webhook-redelivery/${orgId}/${id}`, rate);
    if (!budget.allowed) throw new RateLimited(budget);
    if (to < from || to - from >= mostNumbers) {
      throw new InvalidRequest(`toSeq: give a number from ${from} to ${from + mostNumbers - 1}`);
    }
    const { earliest, last } = await eventLog.bounds(orgId, log);
    if (to > last) throw new InvalidRequest(`${log} ends with number ${last}; give at most that`);
    if (from < earliest) throw new CursorExpired(log, earliest);
    return change(call, async (tx) => {
      const known = requireSending(await getEndpointForUpdate(tx, caller, id), log);
      const types = activeTypes(known);
      const seqs = (await typesIn(tx, orgId, range))
        .filter((event) => selectedType({ ...event, log }, types) !== undefined)
        .map(({ seq }) => seq);
      if (seqs.length === 0) {
        nothingToAudit(call);
        return unchanged(0);
      }
      const events = seqs.map((seq) => ({ seq, webhookId: newId ? freshId(log, seq) : undefined }));
      await queueAgain(tx, known, log, events, now());
      await append(tx, call, {
        action,
        target: id,
        details: { url: known.url, ...range, queued: seqs.length },
      });
      return seqs.length;
    });
  }

  return {
    async replayEvents({ id, log, fromSeq, toSeq, newId }, context) {
      const range = { log, from: Number(fromSeq), to: Number(toSeq), newId };
      return { queued: await sendAgain(context, id, "webhook.replay", range) };
    },

    async redeliverEvent({ id, log, seq, newId }, context) {
      const range = { log, from: Number(seq), to: Number(seq), newId };
      const queued = await sendAgain(context, id, "webhook.redeliver", range);
      if (queued === 0) throw new EventNotSelected(`event ${seq} of ${log}`);
      return {};
    },
  };
}

/** The endpoint that was found, if it is sent events of the log. */
function requireSending(found: Endpoint | undefined, log: string): Endpoint {
  if (found === undefined) throw new EndpointNotFound();
  if (found.state === "paused") throw new EndpointPaused();
  if (!logsOf(activeTypes(found)).includes(log)) throw new EventNotSelected(`the log ${log}`);
  return found;
}

/** By what the events of the range can be selected. */
async function typesIn(tx: Tx, orgId: string, { log, from, to }: Range) {
  const stretch = { after: from - 1, limit: to - from + 1 };
  if (log === auditLog) {
    // What was removed for its age meanwhile must not make room for later ones.
    return (await readAudit(tx, orgId, stretch)).map(eventOfRecord).filter(({ seq }) => seq <= to);
  }
  return (await readTypes(tx, orgId, log, stretch)).map(({ seq, type }) => ({ seq, types: [type] }));
}

/** Not the id that the event has by itself, and for each redelivery another one. */
function freshId(log: string, seq: number): string {
  return `${log}.${seq}.${randomBytes(8).toString("hex")}`;
}
