import { afterAll, beforeAll, expect, test } from "vitest";
import { arrival, startEventLog, type TestEventLog } from "../support/event-log.ts";

let logs: TestEventLog;
beforeAll(async () => {
  logs = await startEventLog();
});
afterAll(() => logs[Symbol.asyncDispose]());

const page = { limit: 100, maxBytes: 1 << 20 };
const hour = 60 * 60 * 1_000;
const day = 24 * hour;

async function send(log: string, count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await logs.eventLog.accept(logs.orgId, [arrival(log)]);
}

const earliest = async (log: string) => (await logs.eventLog.bounds(logs.orgId, log)).earliest;
const seqs = async (log: string, after: number) =>
  (await logs.eventLog.read(logs.orgId, log, { after, ...page })).map(({ seq }) => seq);

test("an event ends to the second, for readers of the end of the log as well, and the error names the next one", async () => {
  const log = await logs.newLog({ retentionSeconds: 3_600 });
  await send(log, 3);
  logs.advance(1_000);
  await send(log, 2);
  const read = () => logs.eventLog.tail.read(logs.orgId, log, { after: 0, ...page });
  expect(await read()).toHaveLength(5);
  logs.advance(hour - 1_001);
  expect(await earliest(log)).toBe(1);
  expect(await seqs(log, 0)).toHaveLength(5);
  logs.advance(1);
  for (const asked of [() => seqs(log, 0), () => seqs(log, 2), read]) {
    await expect(asked()).rejects.toMatchObject({
      reason: "CURSOR_EXPIRED",
      metadata: { log, earliest: "4" },
    });
  }
  expect(await earliest(log)).toBe(4);
  expect(await seqs(log, 3)).toEqual([4, 5]);
  logs.advance(1_000);
  expect(await logs.eventLog.bounds(logs.orgId, log)).toEqual({ earliest: 6, last: 5 });
  expect(await seqs(log, 5)).toEqual([]);
});

test("what a shorter retention has ended stays so, and days that end out of order leave no gap", async () => {
  const { eventLog, change, orgId } = logs;
  const log = await logs.newLog({ retentionSeconds: (30 * day) / 1_000 });
  const keep = (days: number) =>
    change((tx) => eventLog.keep(tx, orgId, log, { retentionSeconds: days * 86_400, dedupSeconds: 86_400 }));
  await send(log, 2);
  logs.advance(2 * day);
  await send(log, 2);
  await keep(1);
  expect(await earliest(log)).toBe(3);
  await send(log);
  await keep(30);
  expect(await earliest(log)).toBe(3);
  await send(log, 2);
  expect(await seqs(log, 2)).toEqual([3, 4, 5, 6, 7]);
  // The fifth was stored to be dropped before the third and fourth.
  logs.advance(3 * day);
  await eventLog.upkeep.runOnce();
  expect(await earliest(log)).toBe(6);
  expect(await seqs(log, 5)).toEqual([6, 7]);
  await expect(seqs(log, 2)).rejects.toMatchObject({ reason: "CURSOR_EXPIRED" });
});

test("a day for which nothing was made ready is made when an event comes, and the service's own events too", async () => {
  const { eventLog, orgId, postgres } = logs;
  const log = await logs.newLog({ retentionSeconds: 7_200 });
  logs.advance(40 * day);
  await send(log);
  expect(await seqs(log, 0)).toEqual([1]);
  logs.advance(40 * day);
  const { last } = await eventLog.bounds(orgId, "service");
  const at = new Date(Date.now() + 400 * day).toISOString();
  await postgres.asOwner("select append_own_event($1, 'channel.gap', 'x', '{}', $2::timestamptz)", [
    orgId,
    at,
  ]);
  expect(await eventLog.bounds(orgId, "service")).toMatchObject({ last: last + 1 });
});

test("a deleted log is not there at once, in any process, and what it took no longer counts", async () => {
  const { eventLog, orgId, postgres } = logs;
  const [log, kept] = [await logs.newLog(), await logs.newLog()];
  const other = await logs.replica();
  await send(log);
  expect(await other.tail.read(orgId, log, { after: 0, ...page })).toHaveLength(1);
  await logs.change((tx) => eventLog.remove(tx, log));
  for (const asked of [
    () => eventLog.read(orgId, log, { after: 0, ...page }),
    () => eventLog.tail.read(orgId, log, { after: 0, ...page }),
    () => eventLog.accept(orgId, [arrival(log)]),
    () => other.accept(orgId, [arrival(log)]),
  ]) {
    await expect(asked()).rejects.toMatchObject({ reason: "LOG_NOT_FOUND" });
  }
  await expect
    .poll(() => other.tail.read(orgId, log, { after: 0, ...page }).catch(({ reason }) => reason), {
      timeout: 20_000,
    })
    .toBe("LOG_NOT_FOUND");
  expect(await postgres.asOwner("select from log_days where log = $1", [log])).toHaveLength(0);
  await send(kept);
  expect(await seqs(kept, 0)).toEqual([1]);
});
