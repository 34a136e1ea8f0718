import type { ServiceImpl } from "@connectrpc/connect";
import { randomBytes } from "node:crypto";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append } from "#src/audit/append.ts";
import { serviceLog, type LoggedEvent } from "#src/eventlog/event.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { present } from "#src/platform/present.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { EndpointNotFound } from "./errors.ts";
import { openReceiver } from "./opened-receiver.ts";
import { findSealedReceiver } from "./sealed-receiver.ts";
import type { WebhookParts } from "./service.ts";

/** Whoever may test is no source of load for others. */
const rate = { limit: 10, windowMs: 60_000 };

/** Sends a ping to an endpoint. See the contract. */
export function createTestEndpoint(
  parts: WebhookParts,
): ServiceImpl<typeof WebhookService>["testWebhookEndpoint"] {
  const { database, change, keyring, callLimiter, deliver, now } = parts;

  return async ({ id }, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const { orgId } = caller;
    const at = now();
    const sealed = await database.read(orgId, (tx) => findSealedReceiver(tx, caller, id, at));
    if (sealed === undefined) throw new EndpointNotFound();
    const budget = await callLimiter.spend(`webhook-test/${orgId}/${id}`, rate);
    if (!budget.allowed) throw new RateLimited(budget);
    using opened = await openReceiver(keyring, sealed);
    const event = pingOf(orgId, id, at);
    const { ok, ...outcome } = await deliver(
      opened.receiver,
      { event, type: event.type, webhookId: event.id, attempt: 1, previous: null, redelivery: false },
      context.signal,
    );
    const { status, stage } = outcome;
    const latencyMs = Math.round(outcome.latencyMs);
    await change(call, (tx) =>
      append(tx, call, {
        action: "webhook.test",
        target: id,
        details: { url: sealed.url, ok, ...present({ status, stage }) },
      }),
    );
    return { ok, latencyMs, ...present({ status, stage }) };
  };
}

/** An event that is in no log: numbers begin at 1. */
function pingOf(orgId: string, endpointId: string, at: Date): LoggedEvent {
  const type = "webhook.ping";
  return {
    ...{ orgId, log: serviceLog, seq: 0, receivedAt: at, type, types: [type] },
    ...{ id: `ping.${randomBytes(16).toString("hex")}`, source: "patchbay", subject: endpointId },
    ...{ time: at.toISOString(), contentType: "application/json", extensions: {}, verified: "patchbay" },
    data: Buffer.from(JSON.stringify({ endpointId })),
  };
}
