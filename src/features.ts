import { createApiKeys } from "#src/api-keys/api-keys.ts";
import { createKeyEnds } from "#src/api-keys/ends.ts";
import { createAudit } from "#src/audit/audit.ts";
import { createCalls } from "#src/calls/calls.ts";
import { createCatalog } from "#src/catalog/catalog.ts";
import { createChannels } from "#src/channels/channels.ts";
import { isShownChannel } from "#src/channels/store.ts";
import { hasShownTarget } from "#src/connections/access.ts";
import { createConnections } from "#src/connections/connections.ts";
import { countConnections } from "#src/connections/store.ts";
import { createDirectory } from "#src/directory/service.ts";
import { createKeyUpkeep } from "#src/crypto/key-upkeep.ts";
import { createEvents } from "#src/events/events.ts";
import { createHealth } from "#src/health/health.ts";
import { createIntegrations } from "#src/integrations/integrations.ts";
import { forgetCatalog } from "#src/operations/import/revision-store.ts";
import { createOperations } from "#src/operations/operations.ts";
import type { Loop } from "#src/platform/loop.ts";
import type { Feature } from "#src/platform/served-service.ts";
import { createVerification, type Verification } from "#src/verification/verification.ts";
import { createWebhooks } from "#src/webhooks/webhooks.ts";
import { sealedColumns } from "./sealed-columns.ts";
import type { Shared } from "./shared.ts";

type LoopName =
  | "health"
  | "oauth"
  | "catalog"
  | "logs"
  | "keys"
  | "orgKeys"
  | "groups"
  | "webhooks"
  | "webhookOwners"
  | "sources"
  | "audit";

/** All that the service can do. */
export interface Features {
  readonly all: readonly Feature[];
  readonly verification: Verification;
  /** What goes on while nobody calls, once it is started. */
  readonly loops: Readonly<Record<LoopName, Loop>>;
  /** Ends the calls that wait for something to happen, so that nobody waits for them. */
  readonly stopWaiting: () => void;
}

/** Builds the features. This is the only place that knows all of them, and it knows nothing of their insides. */
export async function createFeatures(shared: Shared): Promise<Features> {
  const apiKeys = createApiKeys(shared);
  const operations = await createOperations(shared);
  const { describe } = operations;
  const verification = await createVerification({ ...shared, describe, usage: apiKeys.usage });
  const integrations = createIntegrations({ ...shared, countConnections, forgetCatalog });
  const connections = await createConnections({ ...shared, integrations, describe });
  const calls = createCalls({ ...shared, connections, operations });
  const catalog = createCatalog({ ...shared, operations, connections, calls });
  const health = await createHealth({ ...shared, connections });
  const events = await createEvents({ ...shared, isShownChannel });
  const channels = await createChannels({ ...shared, verification, connections });
  const webhooks = createWebhooks(shared);
  const audit = createAudit({ ...shared, hasShownTarget });
  const all = [
    apiKeys,
    verification,
    integrations,
    connections,
    calls,
    health,
    catalog,
    createDirectory(shared),
    audit,
    events,
    channels,
    webhooks,
  ];
  const loops = {
    health: health.sweep,
    oauth: connections.oauthSweep,
    catalog: catalog.watch,
    logs: shared.eventLog.upkeep,
    keys: createKeyEnds(shared),
    orgKeys: createKeyUpkeep({ ...shared, sealedColumns }),
    groups: events.groupUpkeep,
    webhooks: webhooks.dispatch,
    webhookOwners: webhooks.owners,
    sources: channels.sources,
    audit: audit.upkeep,
  };
  return {
    ...{ all, verification, loops },
    stopWaiting() {
      verification.stopStreams();
      events.stopWaiting();
      health.stopWaiting();
    },
  };
}
