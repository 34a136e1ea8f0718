import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { pino } from "pino";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { temporaryFolder } from "../cli/patchbay.ts";
import { startProxy, type PostgresProxy } from "../support/postgres-proxy.ts";
import { expectAllDelivered, expectNothingLost } from "./support/assess.ts";
import { startDeployment, type Deployment } from "./support/deployment.ts";
import { startLoad, type Load } from "./support/load.ts";
import { databaseIsAway, expectCleanAnswers, expectCleanLog } from "./support/words.ts";

// The service with a Postgres of the operator's, and a wire between them.
const closing = new AsyncDisposableStack();
let ownerUrl: string;
let proxy: PostgresProxy;
let deployment: Deployment;
beforeAll(async () => {
  const folder = closing.use(await temporaryFolder());
  const log = pino({ level: "silent" });
  const settings = { max_connections: "24" };
  const postgres = await startEmbeddedPostgres({ dataDir: folder.path, log, settings });
  closing.defer(() => postgres.stop());
  ownerUrl = postgres.url;
  proxy = closing.use(await startProxy(ownerUrl));
  deployment = closing.use(await startDeployment({ database: { url: proxy.url, ownerUrl } }));
});
afterAll(() => closing.disposeAsync());

const loads: Load[] = [];

/** Clients whose webhook endpoint stays to the end. */
async function newLoad(): Promise<Load> {
  const load = closing.use(await startLoad(deployment));
  loads.push(load);
  await load.isServed();
  return load;
}

async function expectNoHarm(load: Load, reasons: readonly string[] = databaseIsAway): Promise<void> {
  await expectNothingLost(deployment, load);
  expectCleanAnswers(load, reasons);
  expectCleanLog(deployment, load);
}

const isRefused = (load: Load, more: number) => {
  const before = load.journal.refusals.length;
  return vi.waitUntil(() => load.journal.refusals.length >= before + more, { timeout: 60_000 });
};

test("a database that is silent for a while has every call answered, and all goes on when it speaks again", async () => {
  const load = await newLoad();
  proxy.blackHole();
  await isRefused(load, 12);
  await proxy.close();
  await proxy.reopen();
  await load.isServed();
  await expectNoHarm(load);
});

test("a wire that takes a twentieth of a second for each question slows calls down, and refuses none", async () => {
  const load = await newLoad();
  proxy.delay(25);
  await load.isServed();
  proxy.delay(0);
  await expectNoHarm(load, []);
});

test("a wire that is cut over and over costs calls on their way, and nothing else", async () => {
  const load = await newLoad();
  for (let cuts = 0; cuts < 5; cuts++) {
    await sleep(Math.random() * 50);
    proxy.cut();
    await load.isServed();
  }
  expect(load.journal.refusals.length).toBeGreaterThan(0);
  await expectNoHarm(load);
});

test("commits whose answers are lost are there, and their callers are told that this is not known", async () => {
  const load = await newLoad();
  const wasMade = async () => {
    const inDoubt = load.journal.writes.filter(({ outcome }) => outcome === "unknown");
    const ids = inDoubt.map(({ requestId }) => requestId);
    return deployment.asOwner("select from audit_events where request_id = any($1::text[])", [ids]);
  };
  await vi.waitUntil(
    async () => {
      proxy.holdAnswers();
      await sleep(Math.random() * 20);
      proxy.cut();
      await load.isServed();
      return (await wasMade()).length > 0;
    },
    { timeout: 60_000 },
  );
  await expectNoHarm(load);
});

test("a database that takes no further connection refuses calls until it has room, and no longer", async () => {
  const load = await newLoad();
  await using hoard = new AsyncDisposableStack();
  const take = async (): Promise<Connection> => {
    const connection = hoard.use(openConnection(ownerUrl, { application_name: "hoard" }));
    await connection.run("select 1");
    return connection;
  };
  const first = await take();
  // Those of the service are ended, and it finds their places taken.
  for (let isFull = false; !isFull;) {
    await first.run(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'patchbay%'",
    );
    isFull = await take().then(
      () => false,
      () => true,
    );
  }
  await isRefused(load, 12);
  await hoard.disposeAsync();
  await load.isServed();
  await expectNoHarm(load);
});

test("an operator's session that locks what every change needs holds up changes, and no call", async () => {
  const load = await newLoad();
  await using session = openConnection(ownerUrl, { application_name: "operator" });
  await session.run("begin");
  await session.run("select from audit_heads for update");
  await isRefused(load, 3);
  const { journal } = load;
  const writes = () => journal.writes.filter(({ outcome }) => outcome === "acknowledged").length;
  const before = writes();
  await load.isServed(["calls", "events"]);
  expect(writes()).toBe(before);
  await session.run("rollback");
  await load.isServed();
  await expectNoHarm(load, [...databaseIsAway, "TOO_MANY_CALLS"]);
});

test("every event that was answered for through all of this came to its webhook", async () => {
  for (const load of loads) await expectAllDelivered(load);
});
