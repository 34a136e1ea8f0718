import { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";

/** Sends events to the endpoints that are registered for them. */
export function createWebhooks(_shared: { eventLog: EventLog }): Feature {
  return { services: [serve(WebhookService, {})] };
}
