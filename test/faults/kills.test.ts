import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { expectAllDelivered, expectNothingLost } from "./support/assess.ts";
import { startDeployment, type Deployment } from "./support/deployment.ts";
import { startLoad, type Load } from "./support/load.ts";
import { databaseIsAway, endedByItself, expectCleanAnswers, expectCleanLog } from "./support/words.ts";

// The service with its embedded Postgres, which goes through all of this one after the other.
let deployment: Deployment;
const loads: Load[] = [];
beforeAll(async () => {
  deployment = await startDeployment();
});
afterAll(async () => {
  for (const load of loads) await load[Symbol.asyncDispose]();
  await deployment[Symbol.asyncDispose]();
});

/** Clients whose webhook endpoint stays to the end. */
async function newLoad(): Promise<Load> {
  const load = await startLoad(deployment);
  loads.push(load);
  await load.isServed();
  return load;
}

/** The first process of the embedded Postgres. */
async function postmaster(): Promise<number> {
  const [pid] = (await readFile(join(deployment.dataDir, "postgres/postmaster.pid"), "utf8")).split("\n");
  return Number(pid);
}

test("a service that is killed over and over under load has lost nothing that it acknowledged, and left nothing half", async () => {
  const load = await newLoad();
  for (let kills = 0; kills < 3; kills++) {
    // Wherever the writes are by then.
    await sleep(Math.random() * 50);
    await deployment.service.kill("SIGKILL");
    await deployment.startAgain();
    await load.isServed();
  }
  await expectNothingLost(deployment, load);
  expect(load.journal.writes.some(({ outcome }) => outcome === "unknown")).toBe(true);
  expectCleanAnswers(load, []);
  expectCleanLog(deployment, load);
});

test("the service and Postgres, killed together, come back with all that was acknowledged", async () => {
  const load = await newLoad();
  const pid = await postmaster();
  const ended = deployment.service.kill("SIGKILL");
  process.kill(pid, "SIGKILL");
  await ended;
  await deployment.startAgain();
  await load.isServed();
  await expectNothingLost(deployment, load);
  expectCleanAnswers(load, databaseIsAway);
  expectCleanLog(deployment, load, [endedByItself]);
});

test("sessions of Postgres that end in the middle of transactions cost their own calls only", async () => {
  const load = await newLoad();
  for (let killed = 0; killed < 10;) {
    await sleep(Math.random() * 50);
    const victims = await deployment.asOwner(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'patchbay' and xact_start is not null order by random() limit 1`,
    );
    killed += victims.length;
  }
  await load.isServed();
  await expectNothingLost(deployment, load);
  expect(load.journal.refusals.length).toBeGreaterThan(0);
  expectCleanAnswers(load, databaseIsAway);
  expectCleanLog(deployment, load, [endedByItself]);
});

test("Postgres that is killed under load is started again, and has all that was acknowledged", async () => {
  const load = await newLoad();
  process.kill(await postmaster(), "SIGKILL");
  await load.isServed();
  await expectNothingLost(deployment, load);
  expectCleanAnswers(load, databaseIsAway);
  expectCleanLog(deployment, load, [endedByItself]);
});

test("a process of Postgres that crashes in the middle of a transaction takes the others with it, and nothing is lost", async () => {
  const load = await newLoad();
  const [victim] = await vi.waitUntil(
    async () => {
      const found = await deployment.asOwner(
        "select pid from pg_stat_activity where application_name = 'patchbay' and xact_start is not null limit 1",
      );
      return found.length > 0 && found;
    },
    { timeout: 60_000 },
  );
  process.kill(Number(victim?.["pid"]), "SIGKILL");
  await load.isServed();
  await expectNothingLost(deployment, load);
  expectCleanAnswers(load, databaseIsAway);
  expectCleanLog(deployment, load, [endedByItself]);
});

test("while Postgres is stopped every call is answered within its time, and when it goes on so does the service", async () => {
  const load = await newLoad();
  const pids = await processesOfPostgres();
  for (const pid of pids) signal(pid, "SIGSTOP");
  const before = load.journal.refusals.length;
  await vi.waitUntil(() => load.journal.refusals.length >= before + 8, { timeout: 60_000 });
  for (const pid of pids) signal(pid, "SIGCONT");
  await load.isServed();
  await expectNothingLost(deployment, load);
  expectCleanAnswers(load, databaseIsAway);
  expectCleanLog(deployment, load, [endedByItself]);
});

test("every event that was answered for through all of this came to its webhook", async () => {
  for (const load of loads) await expectAllDelivered(load);
});

/** Of Postgres's processes, some end by themselves at any time. */
function signal(pid: number, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function processesOfPostgres(): Promise<number[]> {
  const rows = await deployment.asOwner("select pid from pg_stat_activity where pid <> pg_backend_pid()");
  return [await postmaster(), ...rows.map(({ pid }) => Number(pid))];
}
