import { createContextValues, type ServiceImpl } from "@connectrpc/connect";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { AuditService } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1Alpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { createAuthenticate } from "#src/api-keys/authenticate.ts";
import { createApiKeyService } from "#src/api-keys/service.ts";
import { recordUse as recordKeyUse } from "#src/api-keys/store.ts";
import { createAuditService } from "#src/audit/service.ts";
import { createCatalogService } from "#src/catalog/service.ts";
import { siblingOffers } from "#src/catalog/siblings.ts";
import { createProbe } from "#src/connections/probe.ts";
import { createConnectionService } from "#src/connections/service.ts";
import { recordHealthy, recordUse as recordConnectionUse } from "#src/connections/store.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import { createHealthSweep, type HealthSweep } from "#src/health/sweep.ts";
import { callOfRequest, withAccessLog } from "#src/net/access.ts";
import { withCors } from "#src/net/cors.ts";
import { createPort } from "#src/net/port.ts";
import type { Tls } from "#src/net/servers.ts";
import type { OutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { callKey, type Environment } from "#src/platform/caller.ts";
import { pathOf, type Request, type Response } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import { createUsageLog } from "#src/platform/usage-log.ts";
import { createRestHandler } from "#src/rest/handler.ts";
import { createPages } from "#src/rest/pages.ts";
import { createCallUnary } from "#src/rpc/call-unary.ts";
import { toRestFailure } from "#src/rpc/errors.ts";
import { createTellFailure } from "#src/rpc/failures.ts";
import { createGate } from "#src/rpc/gate.ts";
import { createRpcHandler } from "#src/rpc/handler.ts";
import { createHealthService, createReadiness } from "#src/rpc/health.ts";
import { createInterceptors } from "#src/rpc/interceptors.ts";
import { requirePolicies } from "#src/rpc/policy.ts";
import { createRequestValidator } from "#src/rpc/validation.ts";
import { createReflection } from "#src/rpc/reflection.ts";
import { createProcedures, serve } from "#src/rpc/router.ts";

/** What the service needs to know of where it runs. */
export interface AppConfig {
  readonly environment: Environment;
  readonly outboundAllow: OutboundAllow;
  readonly corsOrigins: readonly string[];
  readonly tls?: Tls | undefined;
}

/** What the service is given. */
export interface AppParts {
  /** A migrated database. */
  readonly database: Database;
  readonly rootKey: RootKey;
  readonly log: Log;
  readonly now: () => Date;
}

/** The running service. */
export interface App {
  /** Starts to take calls. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
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
  const { environment } = config;
  const { database, rootKey, log, now } = parts;

  const pepper = await loadPepper(database, rootKey, now);
  const keyring = createKeyring(rootKey, now);
  const outbound = createOutbound({ allow: config.outboundAllow });
  const probe = createProbe(outbound);
  const keyUse = createUsageLog(
    (org, uses) => database.record(org, (tx) => recordKeyUse(tx, org, uses)),
    log,
  );
  const calls = createUsageLog(
    (org, uses) => database.record(org, (tx) => recordConnectionUse(tx, org, uses)),
    log,
  );
  const healthy = createUsageLog(
    (org, seen) => database.record(org, (tx) => recordHealthy(tx, org, seen)),
    log,
  );
  const healthSweep = createHealthSweep({ database, probe, environment, log, now });

  const contracts = [ConnectionService, CatalogService, ApiKeyService, AuditService];
  const reflection = createReflection([...contracts, Health]);
  const readiness = createReadiness();
  const connections = createConnectionService({
    database,
    keyring,
    outbound,
    probe,
    environment,
    usage: calls,
    healthy,
    now,
  });
  const services = [
    serve(ConnectionService, connections),
    serve(CatalogService, createCatalogService({ database, offers: siblingOffers(), environment })),
    serve(ApiKeyService, createApiKeyService({ database, pepper, environment, usage: keyUse, now })),
    serve(AuditService, createAuditService(database)),
    serve(
      Health,
      createHealthService(
        readiness,
        contracts.map(({ typeName }) => typeName),
      ),
    ),
    serve(ServerReflection, reflection.v1),
    serve(ServerReflectionV1Alpha, reflection.v1alpha),
  ];
  requirePolicies(services.map(({ desc }) => desc));

  const shutdown = new AbortController();
  const tell = createTellFailure(log);
  const authenticate = createAuthenticate({ database, pepper, environment, usage: keyUse, now });
  const gate = createGate(authenticate, tell);
  const interceptors = createInterceptors(tell, createRequestValidator(contracts));
  const contextValues = (request: Request) => createContextValues().set(callKey, callOfRequest(request));
  const procedures = createProcedures({
    services,
    gate,
    interceptors,
    readMaxBytes,
    shutdownSignal: shutdown.signal,
  });
  const rpc = createRpcHandler({ contextValues, timeoutMs, log });
  const rest = createRestHandler({
    services: contracts,
    gate,
    call: createCallUnary(services, interceptors),
    contextValues,
    errorFrom: (thrown, request) => toRestFailure(tell(thrown, callOfRequest(request))),
    readMaxBytes,
    timeoutMs,
  });
  const pages = createPages(readiness);

  function route(request: Request, response: Response) {
    const path = pathOf(request);
    const procedure = procedures.get(path);
    if (procedure !== undefined) void rpc(procedure, request, response);
    else if (pages.has(path)) pages.get(path)!(request, response);
    else void rest(request, response);
  }

  const handler = withAccessLog(withCors(route, config.corsOrigins), {
    log,
    monotonicNow: () => performance.now(),
  });
  const port = createPort({ handler, tls: config.tls, log });

  return {
    connections,
    healthSweep,
    async listen(host, number) {
      const address = await port.listen(host, number);
      readiness.set(true);
      return address;
    },
    async close(graceMs) {
      readiness.set(false);
      const [finished] = await Promise.all([port.drain(graceMs), healthSweep.stop()]);
      shutdown.abort();
      await Promise.all([keyUse.close(), calls.close(), healthy.close()]);
      await outbound.close();
      return finished;
    },
  };
}
