import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { findRunningPostgres } from "#src/db/embedded/supervisor.ts";
import { patchbay, run } from "../cli/patchbay.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { openVault } from "../support/vault.ts";
import { expectNothingLost } from "./support/assess.ts";
import { startDeployment, type Deployment } from "./support/deployment.ts";
import { startLoad, type Load } from "./support/load.ts";
import { expectCleanAnswers, expectCleanLog } from "./support/words.ts";
import { ask } from "./support/writers.ts";

let deployment: Deployment;
let load: Load;
let upstream: Upstream;
beforeAll(async () => {
  deployment = await startDeployment();
  upstream = await startUpstream();
  // Enough to be in the middle of.
  for (const apiKey of many) await connect(apiKey, upstream.url);
  load = await startLoad(deployment);
});
afterAll(async () => {
  for (const one of [load, upstream]) await one[Symbol.asyncDispose]();
  await deployment[Symbol.asyncDispose]();
});

const many = Array.from({ length: 120 }, (_, n) => `many-${n}`);
const connect = (apiKey: string, baseUrl: string) =>
  ask(deployment, "POST", "/api/service-connections", { serviceSlug: `custom:${apiKey}`, baseUrl, apiKey });

const rotate = () => ["admin", "rotate-kek", "--data-dir", deployment.dataDir];

const livingKeys = async () =>
  (
    await deployment.asOwner("select version from org_keys where wrapped_key is not null order by version")
  ).map((row) => Number(row["version"]));

/** Which keys there are, and how much of what nothing else writes is sealed with which. */
const state = async () =>
  JSON.stringify([
    await livingKeys(),
    await deployment.asOwner(
      `select kek_version, count(*)::integer as n from credentials c
       join connections o on o.org_id = c.org_id and o.id = c.connection_id
       where slug like 'custom:many-%' group by 1 order by 1`,
    ),
  ]);

/** Runs the command, and kills it in the middle of what it does. */
async function killRotation(): Promise<void> {
  const before = await state();
  await using command = patchbay(rotate());
  await vi.waitUntil(async () => (await state()) !== before, { interval: 2, timeout: 60_000 });
  await sleep(Math.random() * 20);
  await command.kill("SIGKILL");
}

test("a rotation whose command and service are killed over and over, under load, loses nothing, and ends", async () => {
  for (let kills = 0; kills < 3; kills++) await killRotation();
  await load.isServed();
  const [first = 0] = await livingKeys();
  await deployment.service.kill("SIGKILL");
  await deployment.startAgain();
  await load.isServed();
  // What the command left, the service finishes; and the next command has nothing to finish, or does it itself.
  expect(await run(rotate())).toMatchObject({ code: 0, stderr: "" });
  const left = await livingKeys();
  expect(left).toHaveLength(1);
  expect(left[0]).toBeGreaterThan(first);
  await expectNothingLost(deployment, load);
  expectCleanAnswers(load, []);
  expectCleanLog(deployment, load);
  // What nothing wrote meanwhile opens as well.
  const rootKey = await readFile(`${deployment.dataDir}.root-key`, "utf8");
  const url = await findRunningPostgres(deployment.dataDir);
  await using vault = openVault({ url: url ?? "" }, rootKey);
  const [org] = await deployment.asOwner("select id from orgs");
  const secrets = [...(await vault.secretsOf(String(org?.["id"]))).values()];
  expect(secrets).toStrictEqual(
    expect.arrayContaining(many.map((text) => Buffer.from(text).toString("hex"))),
  );
});
