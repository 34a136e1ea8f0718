import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openConnection } from "#src/db/connection.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { assessDamage, startSenders, type Damage } from "../support/event-storm.ts";
import { startLogs } from "./events/logs.ts";

const runCommand = promisify(execFile);
const diskMib = 150;
const ballastMib = 40;
const longestMs = 120_000;

/** What happened on the full disk; refusals by their reason. */
export interface DiskFullFigures extends Damage {
  readonly acknowledgedBefore: number;
  readonly acknowledgedAfter: number;
  readonly refusals: Readonly<Record<string, number>>;
}

/** Takes events in until the disk of Postgres is full, makes room, and goes on. It mounts a file system, as root only. */
export async function run(): Promise<DiskFullFigures | void> {
  const disk = await mkdtemp(join(tmpdir(), "patchbay-full-"));
  try {
    await runCommand("mount", ["-t", "tmpfs", "-o", `size=${diskMib}m,mode=755`, "tmpfs", disk]);
  } catch {
    await rm(disk, { recursive: true });
    console.log("skipped: a small file system can be mounted by root only");
    return;
  }
  try {
    return await fill(disk);
  } finally {
    await runCommand("umount", ["-l", disk]);
    await rm(disk, { recursive: true });
  }
}

async function fill(disk: string): Promise<DiskFullFigures> {
  const ballast = join(disk, "ballast");
  await writeFile(ballast, Buffer.alloc(ballastMib << 20));
  await using logs = await startLogs(join(disk, "data"), { min_wal_size: "32MB", max_wal_size: "48MB" });
  const { eventLog } = await logs.replica();
  const names = await logs.newLogs(4);
  const refusals: Record<string, number> = {};
  const data = randomBytes(20_000);
  const senders = startSenders({
    ...{ count: 16, logs: names },
    async send({ log, id, key }) {
      try {
        const event = { id, source: "/full", type: "test", extensions: {}, verified: "none", data };
        const [accepted] = await eventLog.accept(logs.orgId, [{ log, key, ...event }]);
        return accepted?.seq ?? 0;
      } catch (error) {
        const reason = error instanceof ServiceError ? error.reason : String(error);
        refusals[reason] = (refusals[reason] ?? 0) + 1;
        await sleep(20);
        throw error;
      }
    },
  });
  const isFull = () => Object.values(refusals).some((count) => count > 500);
  const before = await untilOrLate(isFull, senders.acknowledged);
  await rm(ballast);
  const goesOn = () => senders.acknowledged.length > before + 200;
  await untilOrLate(goesOn, senders.acknowledged);
  await senders.end();
  await using owner = openConnection(logs.url, {});
  const damage = await assessDamage((...asked) => owner.run(...asked), names, senders.acknowledged);
  const acknowledgedAfter = senders.acknowledged.length - before;
  return { acknowledgedBefore: before, acknowledgedAfter, refusals, ...damage };
}

async function untilOrLate(isSo: () => boolean, acknowledged: readonly unknown[]): Promise<number> {
  const end = performance.now() + longestMs;
  while (!isSo() && performance.now() < end) await sleep(20);
  return acknowledged.length;
}

if (import.meta.main) console.log(await run());
