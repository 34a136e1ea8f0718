import cluster from "node:cluster";
import { pino } from "pino";
import { afterEach, expect, test, vi } from "vitest";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { createFleet } from "#src/workers/fleet.ts";
import { createMeasurements } from "#src/workers/measurements.ts";

const { execPath } = process;
afterEach(() => {
  process.execPath = execPath;
  delete process.env["MORE_THAN_A_PROCESS_TAKES"];
});

/** A fleet of one worker, with the lines of its log. */
function oneWorker() {
  cluster.setupPrimary({ exec: "test/faults/support/fleet-worker-process.ts", execArgv: [], args: [] });
  const lines: Record<string, unknown>[] = [];
  const fleet = createFleet({
    size: 1,
    assignment: { port: 1, databaseUrl: undefined },
    callLimiter: createRateLimiter(() => new Date()),
    measurements: createMeasurements(),
    stopMs: 50_000,
    log: pino({ level: "info" }, { write: (line) => void lines.push(JSON.parse(line)) }),
  });
  return { fleet, lines };
}

test.each([
  [
    "afterwards",
    () => void (process.execPath = "/nonexistent"),
    "the system starts no process: spawn /nonexistent ENOENT",
  ],
  [
    "at once",
    () => void (process.env["MORE_THAN_A_PROCESS_TAKES"] = "x".repeat(10_000_000)),
    "the system starts no process: spawn E2BIG",
  ],
])("a start for which the system has no process, which it says %s, fails with that", async (_, make, why) => {
  const { fleet } = oneWorker();
  make();
  await expect(fleet.start()).rejects.toThrow(why);
  await fleet.stop();
});

test("a worker that the system cannot replace for now is replaced when it can", async () => {
  const { fleet, lines } = oneWorker();
  await fleet.start();
  void fleet.go();
  process.execPath = "/nonexistent";
  const [worker] = Object.values(cluster.workers ?? {});
  worker?.process.kill("SIGKILL");
  await vi.waitUntil(() => lines.length === 2, { timeout: 50_000 });
  expect(lines.map(({ problem }) => problem)).toStrictEqual([
    "it ended with SIGKILL",
    "the system starts no process: spawn /nonexistent ENOENT",
  ]);
  process.execPath = execPath;
  await vi.waitUntil(() => fleet.serving() === 1, { timeout: 50_000 });
  await fleet.stop();
});
