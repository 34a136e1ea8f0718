import { fork, type ChildProcess } from "node:child_process";
import { createSecretKey, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { append } from "#src/audit/append.ts";
import type { Channel } from "#src/channels/channel.ts";
import { createReceiver } from "#src/channels/receiver.ts";
import { createReceivingLookup } from "#src/channels/receiving.ts";
import { secretOwner } from "#src/channels/secret-owner.ts";
import { createSender } from "#src/channels/sender.ts";
import { insertChannel, insertSecret } from "#src/channels/store.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { seal } from "#src/crypto/seal.ts";
import { openConnection } from "#src/db/connection.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { withAccessLog } from "#src/net/access-log.ts";
import { toConnectError } from "#src/pipeline/failures.ts";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import { Secret } from "#src/platform/secret.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { createOpenRoutes } from "#src/rest/open-routes.ts";
import { createLimits } from "#src/verification/limits.ts";
import { makeTables } from "./events/accept.ts";
import { log, startLogs, type BenchLogs } from "./events/logs.ts";
import { postgresCpu } from "./events/postgres-cpu.ts";
import { at, median } from "./figures.ts";
import type { Options } from "./options.ts";

const callers = 256;
const connections = 16;
const channelCount = 64;
const now = () => new Date();
const week = 7 * 86_400;

type Accept = EventLog["accept"];

interface Visit {
  readonly perSecond: number;
  readonly perCoreSecond: number;
  /** CPU for a request. */
  readonly nodeMicros: number;
  readonly postgresMicros: number;
  readonly p50: number;
  readonly p99: number;
}

/**
 * Webhooks of 1 KB over HTTP, signed as GitHub signs them, from another process: the receiver with the log behind it,
 * beside the same receiver with a row for each request. CPU is that of this process, which serves, and of Postgres.
 */
export async function run({ rounds, visitMs }: Pick<Options, "rounds" | "visitMs">): Promise<void> {
  await using logs = await startLogs();
  await using stack = new AsyncDisposableStack();
  const channels = await newChannels(logs);
  const { eventLog } = await logs.replica();
  const ways = [
    { name: "a row for each request", port: await serve(logs, stack, await rowForEach(logs, stack)) },
    { name: "group commit", port: await serve(logs, stack, eventLog.accept) },
  ];
  const senders = fork(new URL("events/senders.ts", import.meta.url));
  stack.defer(() => void senders.kill());
  const seen = ways.map(() => new Array<Visit>());
  for (let round = -1; round < rounds; round++) {
    for (const [index, { port }] of ways.entries()) {
      const one = await visit(logs, senders, { port, channels, callers, visitMs });
      if (round >= 0) seen[index]?.push(one);
    }
  }
  const [rows = []] = seen;
  for (const [index, { name }] of ways.entries()) {
    const visits = seen[index] ?? [];
    const of = (figure: (one: Visit) => number) => median(visits.map(figure)).toFixed(0);
    const ratio = median(visits.map((one, i) => one.perCoreSecond / (rows[i] ?? one).perCoreSecond));
    console.log(
      name.padEnd(24),
      `${of((one) => one.perSecond)}/s`.padStart(9),
      `${of((one) => one.perCoreSecond)} per core-second`.padStart(22),
      `${of((one) => one.nodeMicros)} + ${of((one) => one.postgresMicros)} µs`.padStart(14),
      `p50 ${of((one) => one.p50)} ms, p99 ${of((one) => one.p99)} ms`.padStart(26),
      index === 0 ? "" : `  ${ratio.toFixed(1)} × ${ways[0]?.name}`,
    );
  }
}

/** Everything that a request to a channel passes, with this behind it. */
async function serve(logs: BenchLogs, stack: AsyncDisposableStack, accept: Accept): Promise<number> {
  const { database } = await logs.replica();
  const keyring = createKeyring({ database, rootKey: localRootKey(logs.rootKeyText), log });
  const most = 1_000_000;
  const calls = createRateLimiter(now);
  const perMinute = {
    rateLimitPerMinute: most,
    maxRateLimitPerMinute: most,
    failedAuthenticationsPerMinute: most,
  };
  const limits = createLimits({ calls, failures: createRateLimiter(now), perMinute });
  const monotonicNow = () => performance.now();
  const parts = { database, keyring, environment: "sandbox" as const, now, monotonicNow };
  const receiver = createReceiver({
    ...{ limits, callLimiter: calls, eventLog: { accept }, now },
    lookup: await createReceivingLookup(parts),
    sender: createSender({ authenticate: () => Promise.reject(new Error("no keys here")), limits, now }),
    publicUrl: { current: () => "http://127.0.0.1", opened: (address) => address },
    pepper: (text) => Buffer.from(text),
  });
  const routes = createOpenRoutes([{ services: [], openRoutes: [receiver] }], {
    report: toConnectError,
    budget: createByteBudget(512 * 1024 * 1024, monotonicNow),
  });
  const handle = withAccessLog((request, response) => routes.find("/in/")?.(request, response), {
    log,
    monotonicNow,
    trustedProxyHops: 0,
    legacyPrefixes: [],
  });
  const server = createServer(handle);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** A transaction for each request, which takes the number under the lock of its channel's row. */
async function rowForEach(logs: BenchLogs, stack: AsyncDisposableStack): Promise<Accept> {
  const pool = Array.from({ length: connections }, () => stack.use(openConnection(logs.url, {})));
  await makeTables(pool[0]!);
  const key = createSecretKey(randomBytes(32));
  let turn = 0;
  return (orgId, arrivals) =>
    Promise.all(
      arrivals.map(async ({ log: channel, id, data = Buffer.alloc(0), key: receipt }) => {
        turn += 1;
        const sealed = seal(key, data, [orgId, channel, id]);
        const statement = "select bench_numbered_row($1, $2, $3, $4, $5)";
        await pool[turn % connections]!.run(statement, [orgId, channel, receipt, id, sealed]);
        return { seq: 1, isNew: true };
      }),
    );
}

async function newChannels(logs: BenchLogs): Promise<{ id: string; secret: string }[]> {
  const { database } = await logs.replica();
  const keyring = createKeyring({ database, rootKey: localRootKey(logs.rootKeyText), log });
  const { orgId } = logs;
  const ids = await logs.newLogs(channelCount);
  const secret = randomBytes(32).toString("base64url");
  await keyring.sealing(orgId, (sealer) =>
    database.change(orgId, async (tx) => {
      for (const id of ids) {
        await insertChannel(tx, channelOf(orgId, id));
        using text = Secret.fromText(secret);
        const sealed = await sealer.seal(tx, secretOwner({ orgId, id }, 1), text);
        await insertSecret(
          tx,
          { orgId, id },
          { version: 1, createdAt: now(), validUntil: undefined },
          sealed,
        );
      }
      await append(tx, "service", { action: "channel.create", target: orgId, details: {} });
    }),
  );
  return ids.map((id) => ({ id, secret }));
}

function channelOf(orgId: string, id: string): Channel {
  const receiver = {
    authentication: "signature" as const,
    maxBodyBytes: 1024 * 1024,
    requestsPerMinute: 600_000_000,
  };
  return {
    ...{ orgId, id, environment: "sandbox", name: id, kind: "webhook", state: "active", version: 1 },
    config: { preset: "github", receiver },
    ...{ connectionId: undefined, stateReason: undefined, segmentHash: undefined, sourceState: undefined },
    ...{ createdBy: "", retentionSeconds: week, dedupSeconds: week, lastSeq: 0, secrets: [] },
    ...{ createdAt: now(), updatedAt: now() },
  };
}

async function visit({ dataDir }: BenchLogs, senders: ChildProcess, task: object): Promise<Visit> {
  const postgresBefore = await postgresCpu(dataDir);
  const before = process.cpuUsage();
  const began = performance.now();
  senders.send(task);
  const [answer] = (await once(senders, "message")) as [{ latencies?: number[]; failure?: string }];
  if (answer.latencies === undefined) throw new Error(answer.failure);
  const seconds = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(before);
  const sorted = answer.latencies.toSorted((a, b) => a - b);
  const nodeMicros = (user + system) / sorted.length;
  const postgresMicros = (((await postgresCpu(dataDir)) - postgresBefore) * 1e6) / sorted.length;
  return {
    perSecond: sorted.length / seconds,
    perCoreSecond: 1e6 / (nodeMicros + postgresMicros),
    ...{ nodeMicros, postgresMicros },
    p50: at(0.5, sorted),
    p99: at(0.99, sorted),
  };
}
