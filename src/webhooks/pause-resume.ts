import type { ServiceImpl } from "@connectrpc/connect";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import { unchanged } from "#src/db/database.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { pause, resume } from "./endpoint.ts";
import { EndpointNotFound } from "./errors.ts";
import { toMessage } from "./messages.ts";
import { appendOwnEvent } from "./own-events.ts";
import { positionsFrom } from "./resume-from.ts";
import type { WebhookParts } from "./service.ts";
import { forgetFailures, getEndpoint, getEndpointForUpdate, moveCursors, saveEndpoint } from "./store.ts";

/** Stops endpoints and lets them go on. See the contract. */
export function createPauseAndResume(
  parts: WebhookParts,
): Pick<ServiceImpl<typeof WebhookService>, "pauseWebhookEndpoint" | "resumeWebhookEndpoint"> {
  const { database, change, eventLog, now } = parts;

  return {
    async pauseWebhookEndpoint({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const at = now();
      const endpoint = await change(call, async (tx) => {
        const known = await getEndpointForUpdate(tx, caller, id);
        if (known === undefined) throw new EndpointNotFound();
        const next = pause(known, "called", at);
        if (next === undefined) {
          nothingToAudit(call);
          return unchanged(known);
        }
        await saveEndpoint(tx, next);
        const reason = next.stateReason;
        await append(tx, call, { action: "webhook.pause", target: id, details: { url: next.url, reason } });
        await appendOwnEvent(tx, next, { type: "webhook.paused", data: { reason } });
        return next;
      });
      return { endpoint: toMessage(endpoint, at) };
    },

    async resumeWebhookEndpoint({ id, from }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const at = now();
      const found = await database.read(caller.orgId, (tx) => getEndpoint(tx, caller, id));
      if (found === undefined) throw new EndpointNotFound();
      const wanted = await positionsFrom(eventLog, found, from);
      const endpoint = await change(call, async (tx) => {
        const known = await getEndpointForUpdate(tx, caller, id);
        if (known === undefined) throw new EndpointNotFound();
        // Its types may have been changed meanwhile.
        const moved = wanted.filter(({ log }) => known.positions.some((position) => position.log === log));
        if (known.state === "active" && moved.length === 0) {
          nothingToAudit(call);
          return unchanged(known);
        }
        const stay = known.positions.filter(({ log }) => !moved.some((position) => position.log === log));
        const positions = [...stay, ...moved].toSorted((a, b) => (a.log < b.log ? -1 : 1));
        const next = { ...resume(known, at), positions };
        await saveEndpoint(tx, next);
        await forgetFailures(tx, next);
        if (moved.length > 0) await moveCursors(tx, next, moved);
        await append(tx, call, {
          action: "webhook.resume",
          target: id,
          details: { url: next.url, before: known.positions, after: positions },
        });
        if (known.state !== "active") {
          await appendOwnEvent(tx, next, { type: "webhook.resumed", data: { positions } });
        }
        return next;
      });
      return { endpoint: toMessage(endpoint, at) };
    },
  };
}
