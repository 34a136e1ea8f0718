import { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createDeliver } from "./delivery.ts";
import { createDispatch } from "./dispatch.ts";

/** What is served of webhooks, and what sends them. */
export interface Webhooks extends Feature {
  readonly dispatch: Loop;
}

/** Sends events to the endpoints that are registered for them. */
export function createWebhooks(shared: {
  database: Database;
  keyring: Keyring;
  eventLog: EventLog;
  outbound: Outbound;
  environment: Environment;
  log: Log;
  now: () => Date;
}): Webhooks {
  const deliver = createDeliver(shared);
  return {
    services: [serve(WebhookService, {})],
    dispatch: createDispatch({ ...shared, deliver }),
  };
}
