import { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createWebhookService, type WebhookParts } from "./service.ts";

/** Sends events to the endpoints that are registered for them. */
export function createWebhooks(shared: WebhookParts): Feature {
  return { services: [serve(WebhookService, createWebhookService(shared))] };
}
