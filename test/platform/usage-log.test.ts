import { pino } from "pino";
import { expect, test } from "vitest";
import { createUsageLog, type Use } from "#src/platform/usage-log.ts";

const log = pino({ level: "silent" });
const at = new Date("2026-03-01T12:00:00.000Z");

/** A log whose writes end when the test says so. */
function startLog() {
  const writes: { readonly ids: string[]; end(error?: Error): void }[] = [];
  const written: string[] = [];
  const usage = createUsageLog((_orgId, uses: ReadonlyMap<string, Use>) => {
    const ids = [...uses.keys()];
    return new Promise((resolve, reject) => {
      writes.push({
        ids,
        end(error) {
          if (error !== undefined) return reject(error);
          written.push(...ids);
          resolve();
        },
      });
    });
  }, log);
  /** What was written by the time that the work is done. */
  const writtenBy = async (work: Promise<void>) => {
    await work;
    return [...written];
  };
  return { usage, writes, writtenBy };
}

/** Lets everything run that waits for nothing from outside. */
const settle = () => new Promise(setImmediate);

test("however many flush while a write is on its way, each is answered when what came before it is written", async () => {
  const { usage, writes, writtenBy } = startLog();
  usage.note("org", "a", at);
  const first = writtenBy(usage.flush("org"));
  usage.note("org", "b", at);
  const others = [1, 2, 3].map(() => writtenBy(usage.flush("org")));
  await settle();
  writes[0]!.end();
  expect(await first).toStrictEqual(["a"]);
  await settle();
  // One that comes now finds nothing left to write, and still has to wait.
  others.push(writtenBy(usage.flush("org")));
  await settle();
  expect(writes.map(({ ids }) => ids)).toStrictEqual([["a"], ["b"]]);
  writes[1]!.end();
  expect(await Promise.all(others)).toStrictEqual(others.map(() => ["a", "b"]));
});

test("what could not be written goes with the next write, and keeps nobody waiting longer than that", async () => {
  const { usage, writes, writtenBy } = startLog();
  usage.note("org", "a", at);
  const first = writtenBy(usage.flush("org"));
  const waiting = Array.from({ length: 20 }, () => writtenBy(usage.flush("org")));
  await settle();
  writes[0]!.end(new Error("no room"));
  expect(await first).toStrictEqual([]);
  await settle();
  writes[1]!.end(new Error("no room"));
  expect(await Promise.all(waiting)).toStrictEqual(waiting.map(() => []));
  const last = writtenBy(usage.flush("org"));
  await settle();
  writes[2]!.end();
  expect([await last, writes.length]).toStrictEqual([["a"], 3]);
});

test("a write of one organisation keeps no other waiting", async () => {
  const { usage, writes, writtenBy } = startLog();
  usage.note("acme", "a", at);
  usage.note("globex", "g", at);
  void usage.flush("acme");
  const other = writtenBy(usage.flush("globex"));
  await settle();
  writes[1]!.end();
  expect(await other).toStrictEqual(["g"]);
});

test("a shutdown waits for a write that is on its way, and writes the rest", async () => {
  const { usage, writes, writtenBy } = startLog();
  usage.note("acme", "a", at);
  void usage.flush("acme");
  usage.note("globex", "g", at);
  let isClosed = false;
  const closed = writtenBy(usage.close()).finally(() => (isClosed = true));
  await settle();
  writes[1]!.end();
  await settle();
  expect(isClosed).toBe(false);
  writes[0]!.end();
  expect(await closed).toStrictEqual(["g", "a"]);
});
