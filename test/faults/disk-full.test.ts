import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { expectNothingLost } from "./support/assess.ts";
import { startDeployment } from "./support/deployment.ts";
import { startLoad } from "./support/load.ts";
import { canMount, mountSmallDisk } from "./support/small-disk.ts";
import { databaseIsAway, endedByItself, expectCleanAnswers, expectCleanLog } from "./support/words.ts";

const megabytes = 200;

test.skipIf(!canMount)(
  "a full disk refuses what needs room, has lost nothing, and takes writes again once there is some (needs root, to mount it)",
  async () => {
    await using disk = await mountSmallDisk(megabytes);
    await using deployment = await startDeployment({ dataDir: join(disk.path, "data") });
    await using load = await startLoad(deployment);
    await load.isServed();
    await disk.fill();
    const filledAt = performance.now();
    const before = load.journal.refusals.length;
    // Beyond the room that Postgres had taken before.
    await vi.waitUntil(() => load.journal.refusals.length >= before + 100, { timeout: 60_000 });
    expect(load.journal.refusals.some(({ text }) => text.includes("the database has no room left"))).toBe(
      true,
    );
    const warnings = deployment
      .logged()
      .filter(({ msg }) => msg.startsWith("the disk of the database is full"));
    expect(warnings.length).toBeGreaterThan(0);
    // One in ten seconds, and not one for each write.
    expect(warnings.length).toBeLessThanOrEqual(1 + (performance.now() - filledAt) / 10_000);
    // What it had written ahead is full as well in the end, and then it ends by itself.
    const isDown = () => deployment.logged().some(({ msg }) => msg === endedByItself);
    await vi.waitUntil(
      async () => {
        await deployment
          .asOwner("select pg_logical_emit_message(false, '', ''), pg_switch_wal()")
          .catch(() => []);
        return isDown();
      },
      { timeout: 60_000 },
    );
    await disk.makeRoom();
    await load.isServed();
    await expectNothingLost(deployment, load);
    expectCleanAnswers(load, databaseIsAway);
    expectCleanLog(deployment, load, [
      endedByItself,
      "the embedded Postgres panicked",
      "the embedded Postgres does not start",
    ]);
  },
);
