import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createBackground } from "#src/platform/background.ts";
import { gate, recordingLog } from "../net/support.ts";

function createQueue({ maxWaiting = 10, closeMs = 60_000 } = {}) {
  const { log, lines } = recordingLog();
  return { lines, ...createBackground({ name: "chores", log, maxWaiting, closeMs }) };
}

test("work begins in a later turn than the one that asked for it, and one at a time", async () => {
  const queue = createQueue();
  const begun: number[] = [];
  const first = gate();
  queue.run(async () => {
    begun.push(1);
    await first.opened;
  });
  queue.run(async () => void begun.push(2));
  await Promise.resolve();
  expect(begun).toEqual([]);
  for (let turn = 0; turn < 5; turn++) await nextTurn();
  expect(begun).toEqual([1]);
  first.open();
  await queue.close();
  expect(begun).toEqual([1, 2]);
});

test("a flood is bounded, and the log says with two lines that and how much was dropped", async () => {
  const queue = createQueue({ maxWaiting: 10 });
  let done = 0;
  const taken = Array.from({ length: 10_000 }, () => queue.run(async () => void done++));
  expect(taken.filter(Boolean)).toHaveLength(10);
  await queue.close();
  expect(done).toBe(10);
  expect(queue.lines).toMatchObject([
    { level: 40, msg: "chores: dropped, too much is waiting" },
    { level: 40, msg: "chores: this many were dropped", dropped: 9_990 },
  ]);
});

test("work that fails is logged with its cause, and what follows is done", async () => {
  const queue = createQueue();
  let done = 0;
  queue.run(() => Promise.reject(new Error("disk full")));
  queue.run(async () => void done++);
  await queue.close();
  expect(done).toBe(1);
  expect(queue.lines).toMatchObject([{ level: 50, msg: "chores: failed", err: { message: "disk full" } }]);
});

test("a shutdown waits for work that work asks for", async () => {
  const queue = createQueue();
  let done = 0;
  queue.run(async () => void queue.run(async () => void done++));
  await queue.close();
  expect(done).toBe(1);
  expect(queue.lines).toEqual([]);
});

test("a shutdown ends when its time is over, and says what it dropped", async () => {
  const queue = createQueue({ closeMs: 1 });
  const stuck = gate();
  let done = 0;
  queue.run(() => stuck.opened);
  await nextTurn();
  for (let i = 0; i < 3; i++) queue.run(async () => void done++);
  const closing = queue.close();
  while (queue.lines.length === 0) await nextTurn();
  stuck.open();
  await closing;
  expect(done).toBe(0);
  expect(queue.run(async () => void done++)).toBe(false);
  expect(queue.lines[1]).toMatchObject({ dropped: 3 });
});
