import type { CallUnary } from "#src/pipeline/call-unary.ts";
import { createApiKeys } from "#src/api-keys/api-keys.ts";
import { createKeyEnds } from "#src/api-keys/ends.ts";
import { createRefusals } from "#src/audit/refusals.ts";
import { createAudit } from "#src/audit/service.ts";
import { createCalls } from "#src/calls/calls.ts";
import { createCatalog } from "#src/catalog/catalog.ts";
import { createChannels } from "#src/channels/channels.ts";
import { isShownChannel } from "#src/channels/store.ts";
import type { Config } from "#src/config/config.ts";
import { hasShownTarget } from "#src/connections/access.ts";
import { createConnections } from "#src/connections/connections.ts";
import { countConnections } from "#src/connections/store.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import { createDirectory } from "#src/directory/service.ts";
import { createHealthSweep } from "#src/health/sweep.ts";
import { createChange } from "#src/idempotency/change.ts";
import { createEventLog } from "#src/eventlog/eventlog.ts";
import { createEvents } from "#src/events/events.ts";
import { createIntegrations } from "#src/integrations/integrations.ts";
import { createMetrics } from "#src/metrics/metrics.ts";
import { createMetricsPort } from "#src/metrics/port.ts";
import type { Tls } from "#src/net/servers.ts";
import { forgetCatalog } from "#src/operations/import/revision-store.ts";
import { createOperations } from "#src/operations/operations.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import { createPublicUrl } from "#src/platform/public-url.ts";
import { createCallLimiter } from "#src/ratelimit/call-limiter.ts";
import { createReadiness } from "#src/rpc/grpc-health.ts";
import { createVerification } from "#src/verification/verification.ts";
import { createWebhooks } from "#src/webhooks/webhooks.ts";
import { createSurfaces } from "./surfaces.ts";

/** What the service is given beside its settings. */
export interface AppParts {
  /** A migrated database. */
  readonly database: Database;
  readonly rootKey: RootKey;
  /** Undefined for clear text. */
  readonly tls: Tls | undefined;
  readonly log: Log;
  readonly now: () => Date;
  /** Milliseconds of a clock that is never set: what may be remembered for a time must not live longer by it. */
  readonly monotonicNow: () => number;
}

/** The running service. */
export interface App {
  /** Opens the port. Calls are answered from here on. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Serves its metrics, on a port of their own. */
  listenForMetrics(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Says to load balancers and scripts that calls are welcome: /readyz answers 200. */
  beReady(): void;
  /** What goes on while nobody calls, once it is started. */
  readonly loops: {
    readonly [
      Name in
        "health" | "oauth" | "catalog" | "logs" | "keys" | "groups" | "webhooks" | "webhookOwners" | "sources"
    ]: Loop;
  };
  /** For calls that the service makes to itself. */
  readonly call: CallUnary;
  /** Takes no more calls, lets those on their way finish, and writes what is still in memory. */
  close(graceMs: number): Promise<boolean>;
}

/** Builds the service. This is the only place that knows all of its parts, and it knows nothing of their insides. */
export async function createApp(config: Config, parts: AppParts): Promise<App> {
  const { log, database, rootKey, now } = parts;
  const metrics = createMetrics();
  const metricsPort = createMetricsPort(metrics, log);
  const readiness = createReadiness();
  const shutdown = new AbortController();
  const pepper = await loadPepper(database, rootKey, now);
  // Closed as well if the rest of this function fails: open sockets would keep the process from ending.
  await using opened = new AsyncDisposableStack();
  const callLimiter = await createCallLimiter({ ...config, log, now, fellBack: metrics.rateLimitFellBack });
  opened.defer(() => callLimiter.close());
  const outbound = createOutbound({ allow: parseOutboundAllow(config.outboundAllow) });
  opened.defer(() => outbound.close());
  const keyring = createKeyring(parts);
  const shared = {
    ...config,
    ...parts,
    pepper,
    keyring,
    eventLog: await createEventLog({ ...config, ...parts, keyring }),
    change: createChange({ database, pepper, now }),
    callLimiter,
    outbound,
    publicUrl: createPublicUrl(config.publicUrl, parts.tls !== undefined),
    budget: createByteBudget(config.memoryBudgetMib * 1024 * 1024, () => performance.now()),
  };

  const apiKeys = createApiKeys(shared);
  const operations = await createOperations(shared);
  const { describe } = operations;
  const verification = await createVerification({ ...shared, describe, usage: apiKeys.usage });
  const integrations = createIntegrations({ ...shared, countConnections, forgetCatalog });
  const connections = await createConnections({ ...shared, integrations, describe });
  const calls = createCalls({ ...shared, connections, operations });
  const catalog = createCatalog({ ...shared, operations, connections, calls });
  const events = await createEvents({ ...shared, isShownChannel });
  const channels = await createChannels({ ...shared, verification, connections });
  const webhooks = createWebhooks(shared);
  const features = [
    apiKeys,
    verification,
    integrations,
    connections,
    calls,
    catalog,
    createDirectory(shared),
    createAudit({ ...shared, hasShownTarget }),
    events,
    channels,
    webhooks,
  ];
  for (const feature of features) opened.defer(() => feature.close?.());
  const loops = {
    health: createHealthSweep({ ...shared, probe: connections.probe }),
    oauth: connections.oauthSweep,
    catalog: catalog.watch,
    logs: shared.eventLog.upkeep,
    keys: createKeyEnds(shared),
    groups: events.groupUpkeep,
    webhooks: webhooks.dispatch,
    webhookOwners: webhooks.owners,
    sources: channels.sources,
  };

  const refusals = createRefusals(shared);
  opened.defer(() => refusals.close());
  const { call, leaks, port } = createSurfaces({
    ...shared,
    refusals,
    config,
    features,
    verification,
    readiness,
    shutdownSignal: shutdown.signal,
    answered: (request) => metrics.requestAnswered(request),
  });
  opened.defer(() => leaks.close());

  const closing = opened.move();
  return {
    call,
    loops,
    listen: async (host, number) => shared.publicUrl.opened(await port.listen(host, number)),
    beReady: () => readiness.set(true),
    listenForMetrics: (host, number) => metricsPort.listen(host, number),
    async close(graceMs) {
      readiness.set(false);
      verification.stopStreams();
      events.stopWaiting();
      try {
        const stopped = Object.values(loops).map((loop) => loop.stop());
        return (await Promise.all([port.drain(graceMs), ...stopped]))[0];
      } finally {
        shutdown.abort();
        await closing.disposeAsync();
        metricsPort.close();
      }
    },
  };
}
