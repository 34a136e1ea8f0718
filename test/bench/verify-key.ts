import { create } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext } from "@connectrpc/connect";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import {
  VerificationService,
  VerifyKeyRequestSchema,
  type VerifyKeyRequest,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { createLimits } from "#src/verification/limits.ts";
import { detailsOf, newApiKey } from "#src/api-keys/new-api-key.ts";
import { createMisuseEvents } from "#src/verification/misuse-events.ts";
import { createKeyLookup } from "#src/verification/key-lookup.ts";
import { createKeyUse } from "#src/verification/key-use.ts";
import { createRevocations } from "#src/verification/revocations.ts";
import { insertKey, recordUse } from "#src/api-keys/store.ts";
import { createVerificationService } from "#src/verification/service.ts";
import { createVerifyKey } from "#src/verification/verify-key.ts";
import { append } from "#src/audit/append.ts";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { withDatabase } from "#src/db/address.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";
import { callKey } from "#src/platform/caller.ts";
import { createUsageLog } from "#src/platform/usage-log.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { runIn } from "../../scripts/run.ts";
import { rateOf } from "./rate.ts";

// Each caller has a key of its own: with a key in common, better-auth's callers wait for each other's row lock.
const callers = 16;
const warmUpSeconds = 3;
const rounds = 5;
const secondsPerRound = 2;

const log = pino({ level: "silent" });
const peerFolder = fileURLToPath(new URL("./better-auth/", import.meta.url));

/** Somebody who verifies keys. */
interface Side {
  readonly name: string;
  /** Verifications per second, over so many seconds. */
  rate(seconds: number): Promise<number>;
  close(): Promise<void>;
}

/** How fast keys are verified in process, by better-auth and by Patchbay, on one Postgres with its usual settings. */
export async function run(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const sides: Side[] = [];
  try {
    // One after the other: each warms up before the next begins.
    for (const open of [...(await openersOfBetterAuth(postgres.url)), openPatchbay]) {
      const side = await open(postgres.url);
      sides.push(side);
      await side.rate(warmUpSeconds);
    }
    print(await compare(sides));
  } finally {
    for (const side of sides) await side.close();
    await postgres.stop();
    await rm(dataDir, { recursive: true });
  }
}

type Open = (postgresUrl: string) => Promise<Side>;

/** Patchbay's side: the handler of VerifyKey, with its parts put together as the service does. */
async function openPatchbay(url: string): Promise<Side> {
  const environment = "sandbox";
  const now = () => new Date();
  await migrate({ url, log });
  const database = createDatabase({ url, log });
  const rootKey = localRootKey(newRootKeyText());
  const { admin } = await foundOrganization({ database, rootKey }, environment, "bench");
  const pepper = await loadPepper(database, rootKey, now);
  const fields = { orgId: admin.orgId, name: "a caller", environment, scopes: ["customers:view"] } as const;
  const issued = Array.from({ length: callers }, () => newApiKey(fields, pepper, now()));
  await database.change(admin.orgId, async (tx) => {
    for (const { key } of issued) {
      await insertKey(tx, key);
      await append(tx, "service", { action: "api_key.create", target: key.id, details: detailsOf(key) });
    }
  });

  const monotonicNow = () => performance.now();
  const usage = createUsageLog(
    (orgId, uses) => database.record(orgId, (tx) => recordUse(tx, orgId, uses)),
    log,
  );
  const use = createKeyUse({ database, usage, now });
  const limits = createLimits({
    calls: createRateLimiter(now),
    failures: createRateLimiter(now),
    // Counted, as better-auth counts, and never reached.
    perMinute: { rateLimitPerMinute: 1e9, maxRateLimitPerMinute: 1e9, failedAuthenticationsPerMinute: 1e9 },
  });
  const keys = await createKeyLookup({ database, pepper, environment, legacyPrefixes: [], monotonicNow });
  const { verifyKey } = createVerificationService({
    verify: createVerifyKey({ keys, limits, misuse: createMisuseEvents({ database, log, now }), use, now }),
    revocations: createRevocations({ database, now }),
    describe: async () => undefined,
    environment,
  });
  const call = { requestId: "bench", authorizationLines: 1, caller: admin, passedGate: true };
  const context = createHandlerContext({
    service: VerificationService,
    method: VerificationService.method.verifyKey,
    protocolName: "in-process",
    requestMethod: "POST",
    url: "",
    contextValues: createContextValues().set(callKey, call),
  });
  const requests = issued.map(({ secret }) =>
    create(VerifyKeyRequestSchema, { key: secret, scopes: ["customers:view"], sourceIp: "203.0.113.7" }),
  );

  async function verify(request: VerifyKeyRequest): Promise<void> {
    const { valid, code } = await verifyKey(request, context);
    if (valid !== true) throw new Error(`Patchbay refused its own key with code ${code}`);
  }

  return {
    name: "Patchbay, hit",
    rate: (seconds) => rateOf(requests, verify, seconds),
    async close() {
      await usage.close();
      await database.close();
    },
  };
}

/** The ways to run better-auth, the default first and the fastest last; none if it cannot be installed. */
async function openersOfBetterAuth(postgresUrl: string): Promise<Open[]> {
  if (!(await installBetterAuth())) return [];
  await using admin = openConnection(postgresUrl, {});
  await admin.run("create database better_auth");
  return [
    async (url) => startBetterAuth("better-auth on Postgres", "postgres", url),
    async (url) => startBetterAuth("better-auth with deferUpdates", "deferred", url),
    async (url) => startBetterAuth("better-auth at its best: a Map", "map", url),
  ];
}

/** Whether it is there; the first time, npm fetches it. */
async function installBetterAuth(): Promise<boolean> {
  if (await isInstalled()) return true;
  console.log("better-auth is not installed yet: `npm ci` in test/bench/better-auth");
  try {
    await runIn(peerFolder, "npm", "ci");
    return true;
  } catch (error) {
    const [why] = (error instanceof Error ? error.message : String(error)).split("\n");
    console.log(
      `It could not be installed (${why}), so the comparison with it is skipped. \`npm ci\` there says more.`,
    );
    return false;
  }
}

/** npm writes its own lockfile last, so one that is younger than ours tells of a finished install of these versions. */
async function isInstalled(): Promise<boolean> {
  const installed = await stat(join(peerFolder, "node_modules/.package-lock.json")).catch(() => undefined);
  const wanted = await stat(join(peerFolder, "package-lock.json"));
  return installed !== undefined && installed.mtimeMs >= wanted.mtimeMs;
}

/** better-auth in a process of its own, which takes seconds and answers rates, a line each. */
function startBetterAuth(name: string, mode: string, url: string): Side {
  const peer = spawn(
    process.execPath,
    [join(peerFolder, "peer.mjs"), withDatabase(url, "better_auth"), mode, String(callers)],
    // Nothing else of the environment: a PGUSER or a switch of its own there would make it another comparison.
    { stdio: ["pipe", "pipe", "inherit"], env: { NODE_ENV: "production" } },
  );
  const ended = once(peer, "exit");
  const answers = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
  return {
    name,
    async rate(seconds) {
      peer.stdin.write(`${seconds}\n`);
      const answer = await answers.next();
      if (answer.done === true) throw new Error(`${name} ended without an answer`);
      return (JSON.parse(answer.value) as { perSecond: number }).perSecond;
    },
    async close() {
      peer.stdin.end();
      await ended;
    },
  };
}

/** What one side reached, over all rounds. */
interface Figures {
  readonly name: string;
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Round by round and side by side, so that whatever else the machine does disturbs all of them. */
async function compare(sides: readonly Side[]): Promise<Figures[]> {
  const measured = sides.map(({ name }) => ({ name, rates: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, side] of sides.entries()) measured[i]?.rates.push(await side.rate(secondsPerRound));
  }
  return measured.map(({ name, rates }) => {
    const sorted = rates.toSorted((a, b) => a - b);
    return { name, median: sorted[rounds >> 1] ?? 0, lowest: sorted[0] ?? 0, highest: sorted.at(-1) ?? 0 };
  });
}

/** Each beside the first, and the last also beside the best of the others. */
function print(figures: readonly Figures[]): void {
  const first = figures[0];
  const best = figures.at(-2);
  const last = figures.at(-1);
  for (const one of figures) {
    const beside = figures.filter((other) => other === first || (other === best && one === last));
    const ratios = beside
      .filter((other) => other !== one)
      .map((other) => `${count(one.median / other.median)} × ${other.name}`);
    const spread = `(${count(one.lowest)} to ${count(one.highest)})`;
    const figure = `${one.name.padEnd(32)}${count(one.median).padStart(9)}/s   ${spread.padEnd(24)}`;
    console.log((figure + ratios.join(", ")).trimEnd());
  }
}

function count(number: number): string {
  return number.toLocaleString("en", { maximumFractionDigits: number < 100 ? 1 : 0 });
}

if (import.meta.main) await run();
