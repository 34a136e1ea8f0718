import type { DescService, MessageInitShape, DescMessage } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { pino } from "pino";
import { withAccessLog } from "#src/net/access-log.ts";
import { createPort, type Port } from "#src/net/port.ts";
import { createPipeline } from "#src/pipeline/pipeline.ts";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import type { Caller } from "#src/platform/caller.ts";
import { targetOf } from "#src/platform/http.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { createReadiness } from "#src/rpc/grpc-health.ts";
import { createRpc } from "#src/rpc/rpc.ts";

const caller: Caller = {
  orgId: "org_0",
  environment: "sandbox",
  userId: undefined,
  via: { kind: "api_key", id: "key_0", boundUserId: undefined },
  name: "bot",
  scopes: ["api:manage"],
  expiresAt: undefined,
  rateLimitPerMinute: undefined,
  connections: undefined,
};
const budget = { allowed: true, remaining: 1, resetMs: 1000, retryAfterMs: 0 };

type Handle = (
  message: unknown,
  context: HandlerContext,
) => MessageInitShape<DescMessage> | Promise<MessageInitShape<DescMessage>>;

/** The service's own way in, over gRPC, gRPC-Web and Connect, to one handler for all methods of a contract. */
export async function serveContract(
  desc: DescService,
  handle: Handle,
  unaryLane: "on" | "off",
): Promise<{ readonly port: number; readonly open: Port }> {
  const impl = Object.fromEntries(desc.methods.map(({ localName }) => [localName, handle]));
  const log = pino({ level: "silent" });
  const pipeline = createPipeline({
    contracts: [desc],
    served: [{ desc, impl }],
    authenticate: () => ({ caller, recheck: () => caller }),
    limits: {
      spend: async () => ({ rate: { limit: 1, windowMs: 1000 }, budget }),
      limitFailures: async (_client, authenticate) => authenticate(async () => {}),
    },
    refusals: { note: () => {} },
    environment: "sandbox",
    fourEyesDeletion: "never",
    budget: createByteBudget(1 << 26, () => 0),
    publicLimiter: createRateLimiter(() => new Date(0)),
    log,
  });
  const shutdownSignal = new AbortController().signal;
  const rpc = createRpc(pipeline, { readiness: createReadiness(), shutdownSignal, log, unaryLane });
  const handler = withAccessLog(
    (request, response) => {
      const { path } = targetOf(request);
      if (path === "/healthz") response.end();
      else rpc.procedures.get(path)!(request, response);
    },
    { log, monotonicNow: () => 0, trustedProxyHops: 0, legacyPrefixes: [] },
  );
  const open = createPort({ handler, log });
  const { port } = await open.listen("127.0.0.1", 0);
  return { port, open };
}
