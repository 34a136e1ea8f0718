import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { temporaryFolder } from "../cli/patchbay.ts";
import { expectAllDelivered, expectNothingLost } from "./support/assess.ts";
import { startDeployment, type Deployment } from "./support/deployment.ts";
import { startLoad } from "./support/load.ts";
import { expectCleanAnswers, expectCleanLog } from "./support/words.ts";
import { ask } from "./support/writers.ts";

const closing = new AsyncDisposableStack();
let clockFile: string;
let deployment: Deployment;
beforeAll(async () => {
  const folder = closing.use(await temporaryFolder());
  clockFile = join(folder.path, "clock");
  const env = {
    CLOCK_FILE: clockFile,
    NODE_OPTIONS: `--import=${resolve("test/faults/support/turned-clock.ts")}`,
  };
  deployment = closing.use(await startDeployment({ env }));
});
afterAll(() => closing.disposeAsync());

/** Turns the clock of the running service to so much after the machine's, and waits until it has it. */
async function turn(milliseconds: number): Promise<void> {
  await writeFile(clockFile, String(milliseconds));
  process.kill(deployment.service.pid, "SIGUSR2");
  await vi.waitUntil(() => !existsSync(clockFile), { timeout: 20_000 });
}

const day = 24 * 60 * 60 * 1000;

test.each([
  ["ahead", day],
  ["back", -day],
])(
  "while the clock of the service goes a day %s and returns, calls are served, and nothing is lost or late",
  async (_, ms) => {
    await using load = await startLoad(deployment);
    for (const turnedMs of [0, ms, 0, ms, 0]) {
      await turn(turnedMs);
      await load.isServed(["connections", "keys", "calls", "events", "deliveries"]);
      const { data } = await ask(deployment, "POST", "/api/api-keys", { name: "now", scopes: ["read"] });
      expect(Math.abs(Date.parse(data.apiKey.createdAt) - Date.now() - turnedMs)).toBeLessThan(60_000);
    }
    await expectNothingLost(deployment, load);
    await expectAllDelivered(load);
    expectCleanAnswers(load, []);
    expectCleanLog(deployment, load);
  },
);
