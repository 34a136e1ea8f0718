import type { ServiceImpl } from "@connectrpc/connect";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import { createCreateEndpoint } from "./create.ts";
import type { Deliver } from "./delivery.ts";
import { createDeliveryLists } from "./delivery-lists.ts";
import { detailsOf } from "./endpoint-details.ts";
import { EndpointNotFound } from "./errors.ts";
import { toMessage } from "./messages.ts";
import { createPauseAndResume } from "./pause-resume.ts";
import { createRedelivery } from "./redelivery.ts";
import { createRotateSecret } from "./rotate-secret.ts";
import { createTestEndpoint } from "./test-endpoint.ts";
import { createUpdateEndpoint } from "./update.ts";
import { deleteEndpoint, getEndpoint, getEndpointForUpdate, listEndpoints } from "./store.ts";

const defaultPageSize = 100;

/** What keeping endpoints needs. */
export interface WebhookParts {
  readonly database: Database;
  readonly change: Change;
  readonly keyring: Keyring;
  readonly eventLog: EventLog;
  readonly outbound: Pick<Outbound, "checkSecureBaseUrl">;
  readonly deliver: Deliver;
  /** Counts what replicas are to limit together. */
  readonly callLimiter: RateLimiter;
  readonly now: () => Date;
}

/** Keeps the endpoints that events are sent to. See the contract, `webhook_service.proto`. */
export function createWebhookService(parts: WebhookParts): ServiceImpl<typeof WebhookService> {
  const { database, change, now } = parts;

  return {
    createWebhookEndpoint: createCreateEndpoint(parts),
    updateWebhookEndpoint: createUpdateEndpoint(parts),
    rotateWebhookSecret: createRotateSecret(parts),
    testWebhookEndpoint: createTestEndpoint(parts),
    ...createPauseAndResume(parts),
    ...createRedelivery(parts),
    ...createDeliveryLists(parts),

    async listWebhookEndpoints(request, context) {
      const caller = callerOf(context);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listEndpoints(tx, caller, rows),
          (endpoint) => endpoint.id,
        ),
      );
      return { endpoints: page.items.map((endpoint) => toMessage(endpoint, now())), ...nextPage(page) };
    },

    async getWebhookEndpoint({ id }, context) {
      const caller = callerOf(context);
      const endpoint = await database.read(caller.orgId, (tx) => getEndpoint(tx, caller, id));
      if (endpoint === undefined) throw new EndpointNotFound();
      return { endpoint: toMessage(endpoint, now()) };
    },

    async deleteWebhookEndpoint({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      await change(call, async (tx) => {
        const known = await getEndpointForUpdate(tx, caller, id);
        if (known === undefined) throw new EndpointNotFound();
        await deleteEndpoint(tx, caller, id);
        await append(tx, call, { action: "webhook.delete", target: id, details: detailsOf(known) });
      });
      return {};
    },
  };
}
