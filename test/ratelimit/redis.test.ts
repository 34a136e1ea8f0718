import { createClient } from "@redis/client";
import fc from "fast-check";
import { readFile } from "node:fs/promises";
import { connect as openSocket, createServer, type AddressInfo } from "node:net";
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Secret } from "#src/platform/secret.ts";
import { spend, type Debt } from "#src/ratelimit/gcra.ts";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { connectRedis, countScript } from "#src/ratelimit/redis.ts";
import { createSharedRateLimiter, type SharedRateLimiter } from "#src/ratelimit/shared-limiter.ts";
import { recordingLog, testTls } from "../net/support.ts";
import { missingRedis, startRedis, type TestRedis } from "../support/redis.ts";

beforeEach(({ skip }) => skip(missingRedis !== undefined, missingRedis));

const rate = { limit: 5, windowMs: 60_000 };
const prefix = "patchbay:test:";

let redis: TestRedis;
let client: Awaited<ReturnType<typeof connectClient>>;
beforeAll(async () => {
  if (missingRedis !== undefined) return;
  redis = await startRedis();
  client = await connectClient();
});
afterAll(async () => {
  if (missingRedis !== undefined) return;
  client.destroy();
  await redis[Symbol.asyncDispose]();
});

/** A client of the test's own, which waits for the server while it is away. */
function connectClient() {
  const client = createClient({ url: redis.url, scripts: { count: countScript }, RESP: 2 });
  return client.on("error", () => undefined).connect();
}

function connect(url = redis.url, lost: (why: Error) => void = () => undefined) {
  return connectRedis({ url: Secret.fromText(url), prefix }, lost);
}

describe("the script and gcra.ts answer the same", () => {
  const limits = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100_000 }));
  const made = fc.oneof(fc.constant(0), fc.nat({ max: 20 }), fc.nat({ max: 2 ** 32 - 1 }));

  test("of any debt, however old, large or from the future, under any limit", async () => {
    const windows = fc.constantFrom(1_000, 60_000, 86_400_000);
    const asked = fc.record({ limit: limits, windowMs: windows }).chain((rate) =>
      fc.record({
        rate: fc.constant(rate),
        units: fc.nat({ max: 2 * rate.limit * rate.windowMs }),
        elapsed: fc.integer({ min: -2 * rate.windowMs, max: 2 * rate.windowMs }),
        made,
      }),
    );
    await fc.assert(
      fc.asyncProperty(asked, async ({ rate, units, elapsed, made }) => {
        const debt = { at: Date.now() - elapsed, units };
        await client.set("any", `${debt.at} ${debt.units}`);
        const answer = await client.count("any", rate, made);
        const expected = spend(rate, debt, answer.debt.at, made);
        expect(answer).toStrictEqual({ allowed: expected.budget.allowed, debt: expected.debt });
        expect(await client.get("any")).toBe(`${expected.debt.at} ${expected.debt.units}`);
      }),
      { numRuns: 500 },
    );
  });

  test("of a name that calls on and on while its limit changes", async () => {
    const calls = fc.array(fc.record({ limit: limits, made }), { maxLength: 25 });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(calls, async (calls) => {
        const name = `sequence ${runs++}`;
        let debt: Debt | undefined;
        for (const { limit, made } of calls) {
          const rate = { limit, windowMs: 60_000 };
          const answer = await client.count(name, rate, made);
          const expected = spend(rate, debt, answer.debt.at, made);
          expect(answer).toStrictEqual({ allowed: expected.budget.allowed, debt: expected.debt });
          ({ debt } = expected);
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe("replicas on one server", () => {
  test("take each name's requests from one budget", async () => {
    const [one, other] = [await connect(), await connect()];
    expect(await one.spend("shared", rate)).toStrictEqual({
      allowed: true,
      remaining: 4,
      resetMs: 12_000,
      retryAfterMs: 0,
    });
    expect(await other.spend("shared", rate, 2)).toMatchObject({ allowed: true, remaining: 1 });
    expect(await one.spend("shared", rate)).toMatchObject({ allowed: true, remaining: 0 });
    const refused = await other.spend("shared", rate);
    expect(refused).toMatchObject({ allowed: false, remaining: 0 });
    expect(Math.ceil(refused.retryAfterMs / 1000)).toBe(12);
    expect((await one.spend("another", rate)).allowed).toBe(true);
    for (const counts of [one, other]) counts.close();
  });

  test("let through as many as the limit of those who come at once, and not one more", async () => {
    const replicas = await Promise.all([connect(), connect(), connect()]);
    const spending = Array.from({ length: 90 }, (_, i) =>
      replicas[i % 3]!.spend("raced", { limit: 25, windowMs: 60_000 }),
    );
    const allowed = (await Promise.all(spending)).filter((budget) => budget.allowed);
    expect(allowed).toHaveLength(25);
    for (const counts of replicas) counts.close();
  });

  test("leave nothing behind: each name goes when its window is over", async () => {
    await client.flushAll();
    const counts = await connect();
    await counts.spend("lasting", rate);
    await counts.spend("brief", { limit: 5, windowMs: 50 });
    await counts.spend("lowered", { limit: 100, windowMs: 60_000 }, 99);
    await counts.spend("lowered", rate);
    const ttlOf = (name: string) => client.pTTL(prefix + name);
    expect(await ttlOf("lasting")).toBeGreaterThan(59_000);
    expect(await ttlOf("lasting")).toBeLessThanOrEqual(60_000);
    // What is owed from under the higher limit takes longer to be forgiven.
    expect(await ttlOf("lowered")).toBeGreaterThan(20 * 59_000);
    await vi.waitUntil(async () => (await client.get(`${prefix}brief`)) === null);
    const names = (await client.keys("*")).toSorted();
    expect(names.map((name) => name.slice(prefix.length))).toStrictEqual(["check", "lasting", "lowered"]);
    expect(await ttlOf("check")).toBeLessThanOrEqual(1_000);
    counts.close();
  });

  test("go on when the server forgets the script", async () => {
    const counts = await connect();
    await client.scriptFlush();
    expect(await counts.spend("flushed", rate)).toMatchObject({ allowed: true, remaining: 4 });
    counts.close();
  });

  test("count a value that is none of theirs as nothing", async () => {
    const counts = await connect();
    await client.set(`${prefix}text`, "-1e999 nonsense");
    await client.lPush(`${prefix}list`, "1 2");
    for (const name of ["text", "list"]) {
      expect(await counts.spend(name, rate)).toMatchObject({ allowed: true, remaining: 4 });
      expect(await counts.spend(name, rate)).toMatchObject({ allowed: true, remaining: 3 });
    }
    counts.close();
  });
});

/** A shared limiter as the service has it, whose local one has a clock that stands still. */
async function startLimiter(url = redis.url) {
  const { log, lines } = recordingLog();
  let fallbacks = 0;
  const limiter = await createSharedRateLimiter({
    open: (lost) => connect(url, lost),
    local: createRateLimiter(() => new Date(0)),
    log,
    fellBack: () => void fallbacks++,
  });
  return {
    ...limiter,
    fallbacks: () => fallbacks,
    logged: () => lines.map(({ msg, problem }) => [msg, problem].filter(Boolean).join(": ")),
    [Symbol.asyncDispose]: limiter.close,
  };
}

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

const away = "rate limits are not shared: each process limits by itself for now";
const back = "rate limits are shared again";

/** Spends of names of their own until one is counted at the server. */
async function untilShared({ spend, fallbacks }: SharedRateLimiter & { fallbacks(): number }) {
  await vi.waitUntil(
    async () => {
      const before = fallbacks();
      await spend("until shared", { limit: 100_000, windowMs: 1_000 });
      return fallbacks() === before;
    },
    { timeout: 50_000 },
  );
}

describe("a limiter whose server", () => {
  test("is killed goes on alone at once, from what it let through itself, until the server is back", async () => {
    await using limiter = await startLimiter();
    const other = await connect();
    for (let i = 0; i < 2; i++) await limiter.spend("killed", rate);
    for (let i = 0; i < 3; i++) await other.spend("killed", rate);
    expect((await limiter.spend("killed", rate)).allowed).toBe(false);
    expect(limiter.fallbacks()).toBe(0);

    await redis.kill();
    const alone: boolean[] = [];
    const took = await millisecondsOf(async () => {
      for (let i = 0; i < 6; i++) alone.push((await limiter.spend("killed", rate)).allowed);
    });
    expect(alone).toStrictEqual([true, true, true, false, false, false]);
    expect(took).toBeLessThan(5_000);
    expect(limiter.fallbacks()).toBe(6);

    await redis.restart();
    await untilShared(limiter);
    expect(await limiter.spend("killed", rate)).toMatchObject({ allowed: true, remaining: 4 });
    expect(limiter.logged()).toStrictEqual([expect.stringMatching(`^${away}: `), back]);
  });

  test("hangs holds up the calls on their way for a moment, and no later one", async () => {
    await using limiter = await startLimiter();
    redis.freeze();
    const held = await millisecondsOf(() =>
      Promise.all(Array.from({ length: 100 }, () => limiter.spend("frozen", rate))),
    );
    expect(held).toBeLessThan(5_000);
    const later = await millisecondsOf(async () => {
      for (let i = 0; i < 1_000; i++) await limiter.spend("frozen", rate);
    });
    expect(later).toBeLessThan(5_000);
    expect(limiter.fallbacks()).toBe(1_100);
    expect((await limiter.spend("frozen", rate)).allowed).toBe(false);
    redis.thaw();
    await untilShared(limiter);
    expect(limiter.logged()).toStrictEqual([`${away}: no answer in 100 ms`, back]);
  });

  test("hangs already when it starts holds up the start for a second", async () => {
    redis.freeze();
    // With a password, there is something to answer before the first question.
    await using limiter = await startLimiter(redis.url.replace("//", "//:secret@"));
    redis.thaw();
    expect((await limiter.spend("start", rate)).remaining).toBe(4);
    expect(limiter.logged()).toStrictEqual([`${away}: no answer in 1000 ms`]);
  });

  test("is not there when it starts limits alone, and shares as soon as it is", async () => {
    await redis.kill();
    await using limiter = await startLimiter();
    const allowed: boolean[] = [];
    for (let i = 0; i < 6; i++) allowed.push((await limiter.spend("late", rate)).allowed);
    expect(allowed).toStrictEqual([true, true, true, true, true, false]);
    await redis.restart();
    await untilShared(limiter);
    expect(limiter.logged()).toStrictEqual([expect.stringMatching(`^${away}: .*ECONNREFUSED`), back]);
  });

  test("takes reads only is left alone, with one line for many attempts", async () => {
    await using limiter = await startLimiter();
    await client.replicaOf("127.0.0.1", 1);
    for (let i = 0; i < 5; i++) await limiter.spend("read only", rate);
    expect(await limiter.spend("read only", rate)).toMatchObject({ allowed: false, remaining: 0 });
    const attempts = async () =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    const first = await attempts();
    await vi.waitUntil(async () => (await attempts()) > first, { timeout: 50_000 });
    expect(limiter.logged()).toHaveLength(1);
    await client.sendCommand(["REPLICAOF", "NO", "ONE"]);
    await untilShared(limiter);
    expect(limiter.logged()).toStrictEqual([expect.stringMatching(`^${away}: .*READONLY`), back]);
  });

  test("does not know the password is left alone, and the log does not tell what it was", async () => {
    await using limiter = await startLimiter(redis.url.replace("//", "//:canary@"));
    expect((await limiter.spend("password", rate)).remaining).toBe(4);
    expect(limiter.fallbacks()).toBe(1);
    expect(limiter.logged()).toStrictEqual([expect.stringMatching(/: (ERR AUTH|WRONGPASS)/)]);
    expect(JSON.stringify(limiter.logged())).not.toContain("canary");
  });

  test.each([
    ["another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["a word", "+OK\r\n"],
    ["other numbers", "*2\r\n:1\r\n:2\r\n"],
    ["numbers that are none", "*3\r\n:1\r\n:-5\r\n$3\r\n1e9\r\n"],
    ["nothing", ""],
  ])("answers %s is left alone", async (_, answer) => {
    const server = createServer((socket) =>
      socket.on("error", () => undefined).on("data", () => socket.write(answer)),
    );
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    await using limiter = await startLimiter(`redis://127.0.0.1:${port}`);
    const allowed: boolean[] = [];
    for (let i = 0; i < 6; i++) allowed.push((await limiter.spend("nonsense", rate)).allowed);
    expect(allowed).toStrictEqual([true, true, true, true, true, false]);
    expect(limiter.fallbacks()).toBe(6);
    expect(limiter.logged()).toHaveLength(1);
    server.close();
  });

  test("is waited for when it was this process that did nothing for a while", async () => {
    await using limiter = await startLimiter();
    const spending = limiter.spend("paused", rate);
    const resumeAt = performance.now() + 300;
    while (performance.now() < resumeAt);
    await spending;
    expect(limiter.fallbacks()).toBe(0);
    expect(limiter.logged()).toStrictEqual([]);
  });

  test("is not called any more once it is closed", async () => {
    const limiter = await startLimiter();
    await limiter.close();
    await vi.waitUntil(async () => (await client.clientList()).length === 1);
    expect((await limiter.spend("closed", rate)).allowed).toBe(true);
    expect(limiter.fallbacks()).toBe(1);
    expect(limiter.logged()).toStrictEqual([]);
  });
});

test("a user who may do what docs/operating.md says, and no more, is enough", async () => {
  const [, commands, select] =
    /needs `(.*?)` on `~patchbay:\*`, and `(.*?)`/.exec(await readFile("docs/operating.md", "utf8")) ?? [];
  const permitted = `me on >pass/word ~patchbay:* ${commands} ${select}`.split(" ");
  await using guarded = await startRedis("--user", "default", "off", "--user", ...permitted);
  const { host } = new URL(guarded.url);
  await using limiter = await startLimiter(`redis://me:pass%2Fword@${host}/3`);
  expect((await limiter.spend("permitted", rate)).remaining).toBe(4);
  expect((await limiter.spend("permitted", rate)).remaining).toBe(3);
  expect(limiter.fallbacks()).toBe(0);
});

describe("over TLS", () => {
  /** What talks TLS in front of the server, with a certificate that only its own maker knows. */
  async function startTls() {
    const { port } = new URL(redis.url);
    const front = createTlsServer(testTls, (client) => {
      const server = openSocket(Number(port), "127.0.0.1");
      for (const socket of [client, server]) socket.on("error", () => undefined);
      client.pipe(server).pipe(client);
    });
    await new Promise<void>((done) => front.listen(0, "127.0.0.1", done));
    return {
      url: `rediss://localhost:${(front.address() as AddressInfo).port}`,
      [Symbol.dispose]: () => void front.close(),
    };
  }

  test("a server is believed by its certificate", async () => {
    using front = await startTls();
    const trusted = getCACertificates("default");
    setDefaultCACertificates([...trusted, testTls.cert.toString()]);
    const limiter = await startLimiter(front.url).finally(() => setDefaultCACertificates(trusted));
    await limiter.spend("encrypted", rate);
    await limiter.close();
    expect(limiter.logged()).toStrictEqual([]);
    expect(await client.get(`${prefix}encrypted`)).not.toBeNull();
  });

  test("and not without one that is trusted", async () => {
    using front = await startTls();
    await using limiter = await startLimiter(front.url);
    expect(limiter.logged()).toStrictEqual([expect.stringContaining(`${away}: self-signed`)]);
  });
});
