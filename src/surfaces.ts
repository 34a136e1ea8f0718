import { services } from "#src/client/services.ts";
import type { Refusals } from "#src/audit/refusals.ts";
import type { Config } from "#src/config/config.ts";
import { withAccessLog, type AccessLogOptions } from "#src/net/access-log.ts";
import { withCors } from "#src/net/cors.ts";
import { createDispatch } from "#src/net/dispatch.ts";
import { createPort, type Port } from "#src/net/port.ts";
import type { Tls } from "#src/net/servers.ts";
import type { CallUnary } from "#src/pipeline/call-unary.ts";
import { createLeakWatch, type LeakWatch } from "#src/pipeline/leak-watch.ts";
import { createPipeline } from "#src/pipeline/pipeline.ts";
import type { ByteBudget } from "#src/platform/byte-budget.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import type { Feature } from "#src/platform/served-service.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import type { Tracing } from "#src/platform/tracing.ts";
import { createRestHandler } from "#src/rest/handler.ts";
import { createOpenRoutes } from "#src/rest/open-routes.ts";
import { createPages } from "#src/rest/pages.ts";
import { createRawRoutes } from "#src/rest/raw-routes.ts";
import type { Readiness } from "#src/rpc/grpc-health.ts";
import { createRpc } from "#src/rpc/rpc.ts";
import type { Verification } from "#src/verification/verification.ts";

/** What the features are served on. */
export interface Surfaces {
  readonly port: Port;
  /** For calls that the service makes to itself. */
  readonly call: CallUnary;
  readonly leaks: LeakWatch;
}

/** Puts the features behind the pipeline, on every protocol and one port. */
export function createSurfaces(parts: {
  config: Config;
  features: readonly Feature[];
  verification: Verification;
  budget: ByteBudget;
  refusals: Pick<Refusals, "note">;
  readiness: Readiness;
  /** Aborts what still runs when the time to finish is over. */
  shutdownSignal: AbortSignal;
  answered: NonNullable<AccessLogOptions["answered"]>;
  tls: Tls | undefined;
  log: Log;
  meter: Meter;
  tracing?: Tracing | undefined;
  now: () => Date;
  /** Counts the calls of each address that come without a key. */
  publicLimiter: RateLimiter;
}): Surfaces {
  const { config, features, verification, log, meter } = parts;
  const { rateLimits: limits, authenticate } = verification;
  const pipeline = createPipeline({
    ...config,
    ...parts,
    contracts: Object.values(services),
    served: features.flatMap((feature) => feature.services),
    authenticate,
    limits,
  });
  const rawRoutes = createRawRoutes(features, pipeline);
  const openRoutes = createOpenRoutes(features, { ...parts, ...pipeline });
  const hasForeignQuery = (path: string) =>
    rawRoutes.hasForeignQuery(path) || openRoutes.find(path) !== undefined;
  const leaks = createLeakWatch({ ...config, ...verification, hasForeignQuery, limits, log, meter });
  const dispatch = createDispatch({
    rpc: createRpc(pipeline, { ...config, ...parts }),
    pages: createPages(parts.readiness, pipeline, features),
    rawRoutes,
    openRoutes,
    rest: createRestHandler(pipeline),
  });
  const port = createPort({
    handler: withAccessLog(withCors(leaks.over(dispatch), config.corsOrigins), {
      ...config,
      ...parts,
      monotonicNow: () => performance.now(),
    }),
    tls: parts.tls,
    log,
  });
  return { port, call: pipeline.call, leaks };
}
