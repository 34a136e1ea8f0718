import type { CallUnary } from "#src/pipeline/call-unary.ts";
import { createApiKeys } from "#src/api-keys/api-keys.ts";
import { createAudit } from "#src/audit/service.ts";
import { createCalls } from "#src/calls/calls.ts";
import { createCatalog } from "#src/catalog/service.ts";
import { services } from "#src/client/services.ts";
import { createConnections } from "#src/connections/connections.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import { createDirectory } from "#src/directory/service.ts";
import { createHealthSweep, type HealthSweep } from "#src/health/sweep.ts";
import { createChange } from "#src/idempotency/change.ts";
import { createMetrics } from "#src/metrics/metrics.ts";
import { createMetricsPort } from "#src/metrics/port.ts";
import { withAccessLog } from "#src/net/access.ts";
import { withCors } from "#src/net/cors.ts";
import { createDispatch } from "#src/net/dispatch.ts";
import { createPort } from "#src/net/port.ts";
import type { Tls } from "#src/net/servers.ts";
import type { OutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { createLeakWatch } from "#src/pipeline/leak-watch.ts";
import { createPipeline } from "#src/pipeline/pipeline.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Secret } from "#src/platform/secret.ts";
import { createCallLimiter } from "#src/ratelimit/call-limiter.ts";
import { createRestHandler } from "#src/rest/handler.ts";
import { createPages } from "#src/rest/pages.ts";
import { createReadiness } from "#src/rpc/health.ts";
import { createRpc } from "#src/rpc/rpc.ts";
import type { LimitsPerMinute } from "#src/verification/limits.ts";
import { createVerification } from "#src/verification/verification.ts";

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
  readonly rateLimitUrl: Secret | undefined;
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
  /** Milliseconds of a clock that is never set: what may be remembered for a time must not live longer by it. */
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
  readonly call: CallUnary;
  /** Takes no more calls, lets those on their way finish, and writes what is still in memory. */
  close(graceMs: number): Promise<boolean>;
}

const limits = {
  readMaxBytes: 4 * 1024 * 1024,
  /** A call through a connection may take 60 s; ours ends a little later, so that the caller learns why. */
  timeoutMs: 65_000,
};

/** Builds the service. This is the only place that knows all of its parts, and it knows nothing of their insides. */
export async function createApp(config: AppConfig, parts: AppParts): Promise<App> {
  const { log, database, rootKey, now } = parts;
  const metrics = createMetrics();
  const metricsPort = createMetricsPort(metrics, log);
  const readiness = createReadiness();
  const shutdown = new AbortController();

  const pepper = await loadPepper(database, rootKey, now);
  const callLimiter = await createCallLimiter({
    ...config,
    log,
    now,
    fellBack: () => metrics.rateLimitFellBack(),
  });
  const outbound = createOutbound({ allow: config.outboundAllow });
  const shared = {
    ...config,
    ...parts,
    pepper,
    keyring: createKeyring(parts),
    change: createChange({ database, pepper, now }),
    callLimiter,
    outbound,
  };

  const apiKeys = createApiKeys(shared);
  const verification = await createVerification({ ...shared, usage: apiKeys.usage });
  const connections = createConnections(shared);
  const calls = createCalls({ ...shared, connections });
  const features = [
    apiKeys,
    verification,
    connections,
    calls,
    createCatalog(shared),
    createDirectory(shared),
    createAudit(shared),
  ];
  const healthSweep = createHealthSweep({ ...shared, probe: calls.probe });

  const pipeline = createPipeline({
    ...shared,
    contracts: Object.values(services),
    served: features.flatMap((feature) => feature.services),
    authenticate: verification.authenticate,
    limits: verification.rateLimits,
  });
  const leaks = createLeakWatch({ ...shared, ...verification, limits: verification.rateLimits });
  const dispatch = createDispatch({
    rpc: createRpc(pipeline, { ...limits, readiness, shutdownSignal: shutdown.signal, log }),
    pages: createPages(readiness),
    rest: createRestHandler({ ...pipeline, ...limits }),
  });
  const port = createPort({
    handler: withAccessLog(withCors(leaks.over(dispatch), config.corsOrigins), {
      log,
      monotonicNow: () => performance.now(),
      trustedProxyHops: config.trustedProxyHops,
      answered: (request) => metrics.requestAnswered(request),
    }),
    tls: config.tls,
    log,
  });

  return {
    call: pipeline.call,
    healthSweep,
    async listen(host, number) {
      const address = await port.listen(host, number);
      readiness.set(true);
      return address;
    },
    listenForMetrics: (host, number) => metricsPort.listen(host, number),
    async close(graceMs) {
      readiness.set(false);
      verification.stopStreams();
      try {
        const [finished] = await Promise.all([port.drain(graceMs), healthSweep.stop()]);
        return finished;
      } finally {
        shutdown.abort();
        await leaks.close();
        await Promise.all([...features.map((feature) => feature.close?.()), callLimiter.close()]);
        await outbound.close();
        metricsPort.close();
      }
    },
  };
}
