import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sql } from "#src/db/drizzle.cjs";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { arrival, startEventLog, type TestEventLog } from "../support/event-log.ts";
import { startProxy } from "../support/postgres-proxy.ts";

let logs: TestEventLog;
let eventLog: EventLog;
let orgId: string;
beforeAll(async () => {
  logs = await startEventLog();
  ({ eventLog, orgId } = logs);
});
afterAll(() => logs[Symbol.asyncDispose]());

const keyOf = (id: string) => createHash("sha256").update(id).digest().subarray(0, 16);
const all = { after: 0, limit: 1_000, maxBytes: 1 << 24 };
const unavailable = (outcome: string) => ({ reason: "INTAKE_UNAVAILABLE", metadata: { outcome } });

function send(log: string, id: string) {
  return eventLog.accept(orgId, [arrival(log, { id, key: keyOf(id), data: Buffer.from([0xff, 0, 1]) })]);
}

/** Statements of the owner that are undone at the end. */
async function inPlace(make: string, undo: string): Promise<AsyncDisposable> {
  await logs.postgres.asOwner(make);
  return { [Symbol.asyncDispose]: async () => void (await logs.postgres.asOwner(undo)) };
}

/** Another transaction holds what the statement locks, until it is disposed of. */
async function holding(log: string): Promise<AsyncDisposable> {
  const held = Promise.withResolvers<void>();
  const letGo = Promise.withResolvers<void>();
  const transaction = logs.database.record(orgId, async (tx) => {
    await tx.execute(sql`select from log_heads where log = ${log} for update`);
    held.resolve();
    await letGo.promise;
  });
  await held.promise;
  return {
    async [Symbol.asyncDispose]() {
      letGo.resolve();
      await transaction;
    },
  };
}

test("numbers begin at 1 and have no gaps, whichever replica is sent to, and what is known keeps its number", async () => {
  const [one, two] = [await logs.newLog(), await logs.newLog()];
  const replicas = [eventLog, await logs.replica()];
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, i) => {
      const [log, id] = [i % 3 === 0 ? two : one, String(i % 200)];
      return replicas[i % 2]!.accept(orgId, [
        arrival(log, { id, key: keyOf(id), data: Buffer.from([0xff, 0, 1]) }),
      ]);
    }),
  );
  const events = await eventLog.read(orgId, one, all);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  expect(answers.flat().filter(({ isNew }) => isNew)).toHaveLength(
    events.length + (await eventLog.bounds(orgId, two)).last,
  );
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
  expect(events[0]?.data).toEqual(Buffer.from([0xff, 0, 1]));
  const again = await send(one, events[5]!.id);
  expect(again).toEqual([{ seq: 6, isNew: false }]);
});

test("each event of a call has its own data, and what comes twice in it is stored once, with the first's number", async () => {
  const log = await logs.newLog();
  const given = [
    { id: "a", key: keyOf("a"), data: Buffer.from("first") },
    { id: "b", data: undefined },
    { id: "a", key: keyOf("a"), data: Buffer.from("second") },
    { id: "c", subject: '"{}\\', data: Buffer.alloc(0) },
    { id: "b", data: Buffer.from([0, 0xff]) },
  ];
  const accepted = await eventLog.accept(
    orgId,
    given.map((parts) => arrival(log, parts)),
  );
  expect(accepted.map(({ seq }) => seq)).toEqual([1, 2, 1, 3, 4]);
  expect(accepted.map(({ isNew }) => isNew)).toEqual([true, true, false, true, true]);
  const stored = await eventLog.read(orgId, log, all);
  expect(stored).toMatchObject(given.toSpliced(2, 1).map(({ id, data }) => ({ id, data })));
  expect(stored[2]?.subject).toBe('"{}\\');
});

test("an event that the database refuses takes no other with it, and leaves no gap", async () => {
  const log = await logs.newLog();
  await using _ = await inPlace(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused' using errcode = '22000'; end $$;
     create trigger refuse before insert on events for each row when (new.id = '77') execute function refuse()`,
    "drop trigger refuse on events; drop function refuse()",
  );
  const sent = await Promise.allSettled(Array.from({ length: 200 }, (_, i) => send(log, String(i))));
  expect(sent.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual([77]);
  expect((await eventLog.read(orgId, log, all)).map(({ seq }) => seq)).toEqual(
    Array.from({ length: 199 }, (_, i) => i + 1),
  );
});

test("text that Postgres cannot hold is refused before it can reach a batch, and says what to do", async () => {
  const log = await logs.newLog();
  for (const parts of [{ id: "a\0" }, { subject: "\0" }, { extensions: { qe: "\0" } }]) {
    const sent = eventLog.accept(orgId, [arrival(log, parts)]);
    await expect(sent).rejects.toMatchObject({
      reason: "INVALID_REQUEST",
      message: /NUL in it: send it without/,
    });
  }
});

test("a connection lost in COMMIT is in doubt, and sent again the event is there once", async () => {
  const log = await logs.newLog();
  await using trigger = new AsyncDisposableStack();
  trigger.use(
    await inPlace(
      `create function die() returns trigger language plpgsql security definer as $$ begin
         perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$;
       create constraint trigger die after update on log_heads deferrable initially deferred for each row
         execute function die()`,
      "drop trigger die on log_heads; drop function die()",
    ),
  );
  await expect(send(log, "a")).rejects.toMatchObject(unavailable("unknown"));
  await trigger.disposeAsync();
  expect(await send(log, "a")).toEqual([{ seq: 1, isNew: true }]);
  expect(await send(log, "a")).toEqual([{ seq: 1, isNew: false }]);
});

test("a channel whose head is held for long holds up no other channel, and nothing of it is stored", async () => {
  const [held, free] = [await logs.newLog(), await logs.newLog()];
  // From here on nothing has to be asked for, so that both get into one batch.
  await Promise.all([send(held, "0"), send(free, "0")]);
  await using holder = new AsyncDisposableStack();
  holder.use(await holding(held));
  const [refused, accepted] = await Promise.allSettled([send(held, "a"), send(free, "a")]);
  expect(accepted).toMatchObject({ status: "fulfilled", value: [{ seq: 2, isNew: true }] });
  expect(refused).toMatchObject({ status: "rejected", reason: unavailable("nothing was stored") });
  await holder.disposeAsync();
  expect(await send(held, "a")).toEqual([{ seq: 2, isNew: true }]);
});

test("one organisation's events fill half of the line, and another's find room behind them", async () => {
  const log = await logs.newLog();
  await send(log, "0");
  await using holder = new AsyncDisposableStack();
  holder.use(await holding(log));
  const many = Array.from({ length: 500 }, () => arrival(log, { data: undefined }));
  // The first goes to the database, and waits there; five more are half of the line.
  const sent = Promise.allSettled(Array.from({ length: 6 }, () => eventLog.accept(orgId, many)));
  const beyond = eventLog.accept(orgId, [arrival(log, { data: undefined })]);
  await expect(beyond).rejects.toMatchObject({
    reason: "INTAKE_UNAVAILABLE",
    message: /too many events wait/,
  });
  const others = eventLog.accept("org_other", [arrival("chn_other", { data: undefined })]);
  await holder.disposeAsync();
  await expect(others).rejects.toMatchObject({ reason: "LOG_NOT_FOUND" });
  await sent;
});

test("a database that is silent is answered for within the time that senders wait", async () => {
  const log = await logs.newLog();
  await using proxy = await startProxy(logs.postgres.url);
  const replica = await logs.replica(proxy.url);
  const unused = await logs.replica(proxy.url);
  await replica.accept(orgId, [arrival(log)]);
  proxy.blackHole();
  const began = performance.now();
  const sent = await Promise.allSettled([
    replica.accept(orgId, [arrival(log)]),
    unused.accept(orgId, [arrival(log)]),
  ]);
  for (const one of sent)
    expect(one).toMatchObject({ status: "rejected", reason: { reason: "INTAKE_UNAVAILABLE" } });
  // The database's own deadlines end later, and one after the other.
  expect(performance.now() - began).toBeLessThan(4_400);
});

describe("what is written with events", () => {
  test.each([
    ["is committed with them", true],
    ["is not committed if their channel is gone", false],
  ])("%s", async (_, isThere) => {
    const log = isThere ? await logs.newLog() : "chn_gone";
    await using _table = await inPlace(
      "create table beside (n int); grant all on beside to patchbay_app",
      "drop table beside",
    );
    const others = await logs.newLog();
    // Its key must be known, or the way ends before.
    const noData = arrival(log, { data: undefined });
    const [one] = await Promise.allSettled([
      eventLog.accept(
        orgId,
        [noData],
        async (tx) => void (await tx.execute(sql`insert into beside values (1)`)),
      ),
      send(others, "a"),
    ]);
    expect(one.status).toBe(isThere ? "fulfilled" : "rejected");
    expect(await logs.postgres.asOwner("select from beside")).toHaveLength(isThere ? 1 : 0);
    expect((await eventLog.bounds(orgId, others)).last).toBe(1);
  });
});

test("data of mebibytes is read as it came, among others, and leaves nothing beside the event", async () => {
  const log = await logs.newLog();
  const data = [randomBytes(3 << 20), undefined, Buffer.alloc(300_000, 1), Buffer.alloc(0), randomBytes(1)];
  for (const one of data) await eventLog.accept(orgId, [arrival(log, { data: one })]);
  const read = await eventLog.read(orgId, log, { ...all, maxBytes: 1 << 24 });
  expect(read.map((event, i) => event.data?.equals(data[i]!) ?? data[i] === undefined)).toEqual(
    data.map(() => true),
  );
  const again = arrival(log, { key: keyOf("long"), data: data[0] });
  await eventLog.accept(orgId, [again]);
  expect(await eventLog.accept(orgId, [again])).toMatchObject([{ isNew: false }]);
  expect(await logs.postgres.asOwner("select from event_uploads")).toHaveLength(0);
  // The first is always read, and what begins behind the limit is not.
  expect(await eventLog.read(orgId, log, { ...all, maxBytes: 1 })).toHaveLength(1);
});

test("an organisation whose events take their room is refused with the figures, until some are deleted", async () => {
  await using small = await startEventLog({ eventStorageMib: 1 });
  const log = await small.newLog();
  const accept = (on: EventLog) => on.accept(small.orgId, [arrival(log, { data: Buffer.alloc(400_000) })]);
  await accept(small.eventLog);
  await accept(small.eventLog);
  for (const on of [small.eventLog, await small.replica()]) {
    await expect(accept(on)).rejects.toMatchObject({
      reason: "QUOTA_EXHAUSTED",
      metadata: { limit: "1048576" },
    });
  }
  await small.change((tx) => small.eventLog.remove(tx, log));
  const next = await small.newLog();
  const replica = await small.replica();
  const sent = replica.accept(small.orgId, [arrival(next, { data: Buffer.alloc(400_000) })]);
  expect(await sent).toEqual([{ seq: 1, isNew: true }]);
});
