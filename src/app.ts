import type { ServiceImpl } from "@connectrpc/connect";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { AuditService } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { DirectoryService } from "#gen/patchbay/directory/v1/directory_service_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { createAuthenticate } from "#src/api-keys/authenticate.ts";
import { createServicePrincipals } from "#src/api-keys/service-principal.ts";
import { createLimits, type LimitsPerMinute } from "#src/api-keys/limits.ts";
import { createMisuse } from "#src/api-keys/misuse.ts";
import { createPresentedKeys } from "#src/api-keys/presented-keys.ts";
import { createRevocations } from "#src/api-keys/revocations.ts";
import { createApiKeyService } from "#src/api-keys/service.ts";
import { getKey, recordUse as recordKeyUse } from "#src/api-keys/store.ts";
import { createVerification } from "#src/api-keys/verification.ts";
import { createVerifyKey } from "#src/api-keys/verify-key.ts";
import { createAuditService } from "#src/audit/service.ts";
import { scopesOf } from "#src/catalog/offer.ts";
import { createCatalogService } from "#src/catalog/service.ts";
import { findEndpoint } from "#src/catalog/endpoint-scope.ts";
import { siblingOffers } from "#src/catalog/siblings.ts";
import { createCredentials } from "#src/connections/credentials.ts";
import { createProbe } from "#src/connections/probe.ts";
import { createConnectionService } from "#src/connections/service.ts";
import { recordHealthy, recordUse as recordConnectionUse } from "#src/connections/store.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import type { Database, Tx } from "#src/db/database.ts";
import { createDirectoryService } from "#src/directory/service.ts";
import { createHealthSweep, type HealthSweep } from "#src/health/sweep.ts";
import { createMetrics, type Metrics } from "#src/metrics/metrics.ts";
import { createMetricsPort } from "#src/metrics/port.ts";
import { withAccessLog } from "#src/net/access-log.ts";
import { withCors } from "#src/net/cors.ts";
import { createLeakWatch } from "#src/pipeline/leak-watch.ts";
import { createPort } from "#src/net/port.ts";
import type { Tls } from "#src/net/servers.ts";
import type { OutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import type { Caller, Environment } from "#src/platform/caller.ts";
import { targetOf, type Handler } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import type { Secret } from "#src/platform/secret.ts";
import { createUsageLog } from "#src/platform/usage-log.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { createSharedRateLimiter, type SharedRateLimiter } from "#src/ratelimit/shared-limiter.ts";
import { createRestHandler } from "#src/rest/handler.ts";
import { createPages } from "#src/rest/pages.ts";
import { createRpcHandler, isGrpc, refuseUnknownProcedure } from "#src/rpc/handler.ts";
import { createHealthService, createReadiness, type Readiness } from "#src/rpc/grpc-health.ts";
import { createReflection } from "#src/rpc/reflection.ts";
import { createProcedures } from "#src/rpc/router.ts";
import { createPublicCalls } from "#src/pipeline/public-calls.ts";
import { createPipeline, type Pipeline } from "#src/pipeline/pipeline.ts";
import { serve } from "#src/pipeline/served-service.ts";

/** What the service needs to know of where it runs. */
export interface AppConfig {
  readonly environment: Environment;
  /** Deletions that declare it need a key that is bound to a user. */
  readonly fourEyesDeletion: boolean;
  /** The service that connected siblings see as their caller. */
  readonly callerServiceSlug: string;
  /** What imported keys may begin with beside qe_sk_. */
  readonly legacyPrefixes: readonly string[];
  readonly limits: LimitsPerMinute;
  /** Where replicas count the calls of keys together; undefined if each counts by itself. */
  readonly rateLimitUrl?: Secret | undefined;
  readonly outboundAllow: OutboundAllow;
  readonly corsOrigins: readonly string[];
  /** How many proxies in front append to X-Forwarded-For. */
  readonly trustedProxyHops: number;
  readonly tls?: Tls | undefined;
}

/** What the service is given. */
export interface AppParts {
  /** A migrated database. */
  readonly database: Database;
  readonly rootKey: RootKey;
  readonly log: Log;
  readonly now: () => Date;
  /** Milliseconds of a clock that is never set: what may be remembered for so long must not live longer by it. */
  readonly monotonicNow: () => number;
}

/** The running service. */
export interface App {
  /** Starts to take calls. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Serves its metrics, on a port of their own. */
  listenForMetrics(host: string, port: number): Promise<{ host: string; port: number }>;
  /** Probes connections once it is started. */
  readonly healthSweep: HealthSweep;
  /** For calls that the service makes to itself. */
  readonly connections: ServiceImpl<typeof ConnectionService>;
  /** Takes no more calls, lets those on their way finish, and writes what is still in memory. */
  close(graceMs: number): Promise<boolean>;
}

const readMaxBytes = 4 * 1024 * 1024;
/** A call through a connection may take 60 s; ours ends a little later, so that the caller learns why. */
const timeoutMs = 65_000;

/** Builds the service. This is the only place that knows all of its parts. */
export async function createApp(config: AppConfig, parts: AppParts): Promise<App> {
  const { log } = parts;
  const metrics = createMetrics();
  const metricsPort = createMetricsPort(metrics, log);
  const features = await createFeatures(config, parts, metrics);
  const readiness = createReadiness();
  const shutdown = new AbortController();
  const pipeline = createPipeline({ ...config, ...features, log });
  const handler = createHandler(pipeline, readiness, shutdown.signal, log);
  const leaks = createLeakWatch({ ...config, ...features, log });
  const port = createPort({
    handler: withAccessLog(withCors(leaks.over(handler), config.corsOrigins), {
      log,
      monotonicNow: () => performance.now(),
      trustedProxyHops: config.trustedProxyHops,
      legacyPrefixes: config.legacyPrefixes,
      answered: (request) => metrics.requestAnswered(request),
    }),
    tls: config.tls,
    log,
  });
  const { connections, healthSweep } = features;

  return {
    connections,
    healthSweep,
    async listen(host, number) {
      const address = await port.listen(host, number);
      readiness.set(true);
      return address;
    },
    listenForMetrics: (host, number) => metricsPort.listen(host, number),
    async close(graceMs) {
      readiness.set(false);
      features.stopStreams();
      try {
        const [finished] = await Promise.all([port.drain(graceMs), healthSweep.stop()]);
        return finished;
      } finally {
        shutdown.abort();
        await leaks.close();
        await features.close();
        metricsPort.close();
      }
    },
  };
}

/** What the service does, without a word of how it is reached. */
async function createFeatures(config: AppConfig, parts: AppParts, metrics: Metrics) {
  const { environment, callerServiceSlug, legacyPrefixes, outboundAllow } = config;
  const { database, rootKey, log, now, monotonicNow } = parts;
  const pepper = await loadPepper(database, rootKey, now);
  const keys = await createPresentedKeys({ ...config, database, pepper, monotonicNow });
  const misuse = createMisuse({ database, log, now });
  const keyring = createKeyring(rootKey, now);
  const outbound = createOutbound({ allow: outboundAllow });
  const probe = createProbe(outbound);
  const usageOf = (write: typeof recordKeyUse) =>
    createUsageLog((orgId, uses) => database.record(orgId, (tx) => write(tx, orgId, uses)), log);
  const keyUse = usageOf(recordKeyUse);
  const calls = usageOf(recordConnectionUse);
  const healthy = usageOf(recordHealthy);

  const callLimiter = await createCallLimiter(config, parts, metrics);
  const limits = createLimits({
    calls: callLimiter,
    // Not shared: it is asked before anything is known of the caller, so that a flood of guesses would become one
    // of the shared server. It guards this replica's look-ups, and no number of replicas makes a key guessable.
    failures: createRateLimiter(now),
    perMinute: config.limits,
  });
  const revocations = createRevocations({ database, now });

  const boundUserOf = async (tx: Tx, caller: Caller) =>
    (await getKey(tx, caller, caller.apiKeyId))?.actAsUserId;

  const common = { database, environment, now };
  const offers = siblingOffers();
  const connections = createConnectionService({
    ...common,
    credentials: createCredentials(keyring, createServicePrincipals({ pepper, callerServiceSlug, now })),
    catalogScopes: (slug) => scopesOf(offers.get(slug)),
    outbound,
    probe,
    usage: calls,
    healthy,
  });
  const verification = createVerification({
    verify: createVerifyKey({ keys, limits, misuse, usage: keyUse, now }),
    revocations,
    findEndpoint: (reference) => findEndpoint(offers, reference),
    environment,
  });
  return {
    connections,
    keys,
    limits,
    publicCalls: createPublicCalls(createRateLimiter(now)),
    misuse,
    healthSweep: createHealthSweep({ ...common, probe, log }),
    authenticate: createAuthenticate({ ...common, keys, misuse, usage: keyUse }),
    services: [
      serve(ConnectionService, connections),
      serve(CatalogService, createCatalogService({ ...common, offers })),
      serve(ApiKeyService, {
        ...createApiKeyService({ ...common, pepper, legacyPrefixes, usage: keyUse }),
        ...verification,
      }),
      serve(AuditService, createAuditService(database)),
      serve(DirectoryService, createDirectoryService({ database, boundUserOf, now })),
    ],
    /** Ends what would hold up the shutdown: streams that go on for ever. */
    stopStreams: () => revocations.stop(),
    /** Writes what is still in memory, and closes what is still open. */
    async close() {
      await Promise.all([
        keyUse.close(),
        calls.close(),
        healthy.close(),
        misuse.close(),
        callLimiter.close(),
      ]);
      await outbound.close();
    },
  };
}

/** Counts the calls of each key: in memory, or where the other replicas of this environment count them too. */
async function createCallLimiter(
  { environment, rateLimitUrl: url }: AppConfig,
  { log, now }: AppParts,
  metrics: Metrics,
): Promise<SharedRateLimiter> {
  const local = createRateLimiter(now);
  if (url === undefined) return { ...local, close: async () => undefined };
  // Loaded by those only who need it: the client takes longer to load than all the rest of the limits.
  const { connectRedis } = await import("#src/ratelimit/redis.ts");
  // Ids of keys are random, so that of other databases only a copy of this one has the same.
  const prefix = `patchbay:${environment}:calls:`;
  const open = (lost: (why: Error) => void) => connectRedis({ url, prefix }, lost);
  return createSharedRateLimiter({ open, local, log, fellBack: () => metrics.rateLimitFellBack() });
}

/** How it is reached: every protocol's way through the same pipeline. */
function createHandler(
  pipeline: Pipeline,
  readiness: Readiness,
  shutdownSignal: AbortSignal,
  log: Log,
): Handler {
  const health = createHealthService(readiness, pipeline.contracts);
  const reflection = createReflection([...pipeline.contracts, Health], pipeline.publicCalls);
  const procedures = createProcedures({
    ...pipeline,
    services: [
      ...pipeline.services,
      serve(Health, health),
      serve(ServerReflection, reflection.v1),
      serve(ServerReflectionV1Alpha, reflection.v1alpha),
    ],
    readMaxBytes,
    shutdownSignal,
  });
  const rpc = createRpcHandler({ ...pipeline, timeoutMs, log });
  const rest = createRestHandler({ ...pipeline, readMaxBytes, timeoutMs });
  const pages = createPages(readiness, pipeline);

  return (request, response) => {
    const { path } = targetOf(request);
    const procedure = procedures.get(path);
    const page = pages.get(path);
    if (procedure !== undefined) void rpc(procedure, request, response);
    else if (page !== undefined) void page(request, response);
    else if (isGrpc(request)) void refuseUnknownProcedure(request, response);
    else void rest(request, response);
  };
}
