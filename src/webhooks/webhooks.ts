import { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Loop } from "#src/platform/loop.ts";
import type { Meter } from "#src/platform/meter.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { countDeliveries } from "./counts.ts";
import { createDeliver } from "./delivery.ts";
import { createDispatch, type DispatchParts } from "./dispatch.ts";
import { createOwnersLoop } from "./owners.ts";
import { createWebhookService, type WebhookParts } from "./service.ts";

/** What is served of webhooks, and what sends them. */
export interface Webhooks extends Feature {
  readonly dispatch: Loop;
  readonly owners: Loop;
}

/** Sends events to the endpoints that are registered for them. */
export function createWebhooks(
  shared: Omit<WebhookParts & DispatchParts, "deliver"> & {
    readonly outbound: Outbound;
    readonly meter: Meter;
  },
): Webhooks {
  const deliver = countDeliveries(createDeliver(shared), shared);
  return {
    services: [serve(WebhookService, createWebhookService({ ...shared, deliver }))],
    owners: createOwnersLoop(shared),
    dispatch: createDispatch({ ...shared, deliver }),
  };
}
