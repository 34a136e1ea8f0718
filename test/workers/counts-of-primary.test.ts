import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { createRateLimiter } from "#src/ratelimit/limiter.ts";
import { createSharedRateLimiter } from "#src/ratelimit/shared-limiter.ts";
import { createCountsOfPrimary } from "#src/workers/counts-of-primary.ts";
import type { FromWorker } from "#src/workers/messages.ts";

const rate = { limit: 10, windowMs: 60_000 };

/** A primary that counts, and that may be stopped; and a worker that asks it. */
async function startWorker() {
  const primary = createRateLimiter(() => new Date(0));
  const messages: FromWorker[] = [];
  let isStopped = false;
  const counts = createCountsOfPrimary((message) => {
    messages.push(message);
    if (!isStopped && message.kind === "count") void answer(message.id, message.spent);
  });
  type Spent = Extract<FromWorker, { kind: "count" }>["spent"];

  async function answer(id: number, spent: Spent) {
    counts.counted(id, await Promise.all(spent.map(({ name, rate: of, alreadyMade }) => primary.spend(name, of, alreadyMade)))); // prettier-ignore
  }

  let fallbacks = 0;
  const limiter = await createSharedRateLimiter({
    open: (lost) => counts.open(lost),
    local: createRateLimiter(() => new Date(0)),
    log: pino({ level: "silent" }),
    fellBack: () => void fallbacks++,
  });
  return {
    primary,
    limiter,
    messages,
    fallbacks: () => fallbacks,
    stop: () => (isStopped = true),
    goOn: () => (isStopped = false),
    [Symbol.asyncDispose]: () => limiter.close(),
  };
}

test("calls of one turn of the event loop are asked for in one message, and each has its own answer", async () => {
  await using worker = await startWorker();
  worker.messages.length = 0;
  const budgets = await Promise.all(Array.from({ length: 12 }, () => worker.limiter.spend("key", rate)));
  expect(worker.messages).toHaveLength(1);
  expect(budgets.map(({ allowed }) => allowed)).toStrictEqual([
    ...Array<boolean>(10).fill(true),
    false,
    false,
  ]);
  expect(budgets.slice(0, 10).map(({ remaining }) => remaining)).toStrictEqual([
    9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
  ]);
});

test("what other workers spent is gone, and what guards have let in already is charged", async () => {
  await using worker = await startWorker();
  for (let i = 0; i < 4; i++) await worker.primary.spend("key", rate);
  expect(await worker.limiter.spend("key", rate, 2)).toMatchObject({ allowed: true, remaining: 3 });
});

test("a primary that does not answer is waited for once; then the worker limits by itself until it does", async () => {
  await using worker = await startWorker();
  await worker.limiter.spend("key", rate);
  worker.stop();
  const alone = await Promise.all(Array.from({ length: 12 }, () => worker.limiter.spend("key", rate)));
  // It knows of the call that it let through before.
  expect(alone.filter(({ allowed }) => allowed)).toHaveLength(9);
  expect(worker.fallbacks()).toBe(12);
  const before = worker.messages.length;
  await worker.limiter.spend("other", rate);
  expect(worker.messages).toHaveLength(before);
  worker.goOn();
  await vi.waitUntil(async () => {
    const fallbacks = worker.fallbacks();
    await worker.limiter.spend("probe", rate);
    return worker.fallbacks() === fallbacks;
  });
});
