import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sql } from "#src/db/drizzle.cjs";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { createTail } from "#src/eventlog/tail.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { arrival, startEventLog, type TestEventLog } from "../support/event-log.ts";

let logs: TestEventLog;
let eventLog: EventLog;
let other: EventLog;
beforeAll(async () => {
  logs = await startEventLog();
  eventLog = logs.eventLog;
  other = await logs.replica();
});
afterAll(() => logs[Symbol.asyncDispose]());

const page = { limit: 100, maxBytes: 1 << 20 };

async function fill(log: string, from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
  await Promise.all(numbers.map((id) => eventLog.accept(logs.orgId, [arrival(log, { id })])));
}

/** The numbers that a follower is given, until it has seen the last one. */
async function numbersUpTo(
  last: number,
  batches: AsyncIterable<readonly LoggedEvent[]>,
): Promise<readonly number[]> {
  const seen: number[] = [];
  for await (const batch of batches) {
    seen.push(...batch.map(({ seq }) => seq));
    if ((seen.at(-1) ?? 0) >= last) break;
  }
  return seen;
}

const upTo = (last: number, after = 0) => Array.from({ length: last - after }, (_, i) => after + i + 1);

describe("followers of a log", () => {
  test("are given each event once and in order, in every process, from wherever they begin", async () => {
    const log = await logs.newLog();
    await fill(log, 1, 300);
    const { signal } = new AbortController();
    const following = [0, 150, 300].flatMap((after) =>
      [eventLog, other].map(async ({ tail }) => ({
        after,
        seen: await numbersUpTo(500, tail.follow(logs.orgId, log, after, signal)),
      })),
    );
    await fill(log, 301, 500);
    for (const { after, seen } of await Promise.all(following)) expect(seen).toEqual(upTo(500, after));
  });

  test("of the audit log learn of changes of other processes, which nothing announces", async () => {
    const { last } = await eventLog.bounds(logs.orgId, "audit");
    const { signal } = new AbortController();
    const seen = numbersUpTo(last + 1, other.tail.follow(logs.orgId, "audit", last, signal));
    await logs.change(async () => {});
    expect(await seen).toEqual([last + 1]);
  });

  test("learn of what they have not seen when another comes that has", async () => {
    const { last } = await eventLog.bounds(logs.orgId, "audit");
    const { signal } = new AbortController();
    const seen = numbersUpTo(last + 1, other.tail.follow(logs.orgId, "audit", last, signal));
    await other.tail.read(logs.orgId, "audit", { after: last, ...page });
    await logs.change(async () => {});
    void other.tail.follow(logs.orgId, "audit", last + 1, signal).next();
    expect(await seen).toEqual([last + 1]);
  });

  test("wait for no slow one: it gets what it has missed from the database", async () => {
    const log = await logs.newLog();
    const { signal } = new AbortController();
    await fill(log, 1, 1);
    const slow = eventLog.tail.follow(logs.orgId, log, 0, signal);
    expect((await slow.next()).value).toHaveLength(1);
    const quick = numbersUpTo(1_500, eventLog.tail.follow(logs.orgId, log, 0, signal));
    await fill(log, 2, 1_500);
    expect(await quick).toEqual(upTo(1_500));
    expect(await numbersUpTo(1_500, slow)).toEqual(upTo(1_500, 1));
  });

  test("end when their signal aborts, and with their log", async () => {
    const log = await logs.newLog();
    const ending = new AbortController();
    const aborted = eventLog.tail.follow(logs.orgId, log, 0, ending.signal).next();
    const ended = other.tail.follow(logs.orgId, log, 0, new AbortController().signal).next();
    ending.abort();
    expect(await aborted).toEqual({ value: undefined, done: true });
    await logs.change((tx) => eventLog.remove(tx, log));
    await expect(ended).rejects.toMatchObject({ reason: "LOG_NOT_FOUND" });
  });

  test("see no event whose transaction is still open, and none is missing behind it", async () => {
    const { signal } = new AbortController();
    const open = Promise.withResolvers<void>();
    const written = Promise.withResolvers<void>();
    const { last } = await eventLog.bounds(logs.orgId, "service");
    const own = sql`select append_own_event('channel.gap', 'x', '{}', now())`;
    const slow = logs.change(async (tx) => {
      await tx.execute(own);
      written.resolve();
      await open.promise;
    });
    await written.promise;
    const seen = numbersUpTo(last + 2, eventLog.tail.follow(logs.orgId, "service", last, signal));
    const behind = logs.database.record(logs.orgId, async (tx) => void (await tx.execute(own)));
    open.resolve();
    await Promise.all([slow, behind]);
    expect(await seen).toEqual([last + 1, last + 2]);
  });
});

test("many who read at the end of a log, wherever they are there, ask the database once or twice", async () => {
  const log = await logs.newLog();
  await fill(log, 1, 20);
  await using proxy = await startProxy(logs.postgres.url);
  const { tail } = await logs.replica(proxy.url);
  await tail.read(logs.orgId, log, { after: 0, ...page });
  const before = proxy.statements();
  const reads = await Promise.all(
    Array.from({ length: 200 }, (_, i) => tail.read(logs.orgId, log, { after: i % 21, ...page })),
  );
  for (const [i, events] of reads.entries()) expect(events.map(({ seq }) => seq)).toEqual(upTo(20, i % 21));
  // A transaction takes five or six.
  expect(proxy.statements() - before).toBeLessThan(15);
});

test("what is kept of the ends of logs is bounded for all of them together", async () => {
  const data = Buffer.alloc(9 * 1024 * 1024);
  const reads: string[] = [];
  const tail = createTail({
    reader: {
      async read(orgId, log, { after }) {
        reads.push(log);
        const event = { ...arrival(log, { data }), orgId, seq: 1, receivedAt: new Date(), types: [] };
        return { events: after === 0 ? [event] : [], keptMs: undefined };
      },
      bounds: async () => ({ earliest: 1, last: 1 }),
    },
    lookout: { watch: () => ({ moved: async () => {}, [Symbol.dispose]() {} }) },
    now: () => new Date(),
  });
  // The first is gone when it is read again, the last is not.
  for (const log of ["a", "b", "c", "d", "d", "a"]) await tail.read("org", log, { after: 0, ...page });
  expect(reads).toEqual(["a", "b", "c", "d", "a"]);
});
