import { randomUUID } from "node:crypto";
import { sql } from "#src/db/drizzle.cjs";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { append } from "#src/audit/append.ts";
import { createDatabase, type Database, type DatabaseOptions } from "#src/db/database.ts";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import { orgs, users } from "#src/directory/schema.ts";
import { startProxy, type PostgresProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let postgres: TestDatabase;
let proxy: PostgresProxy;
const opened: Database[] = [];

beforeAll(async () => {
  postgres = await createTestDatabase();
  await postgres.asOwner("insert into orgs (id, name) values ('org_a', 'A'), ('org_b', 'B')");
  proxy = await startProxy(postgres.url);
});
afterEach(async () => {
  await proxy.close();
  await Promise.all(opened.splice(0).map((database) => database.close()));
  await proxy.reopen();
  await postgres.asOwner("delete from users");
});
afterAll(async () => {
  await proxy.close();
  await postgres[Symbol.asyncDispose]();
});

function open(options: Partial<DatabaseOptions> = {}): Database {
  const database = createDatabase({ url: proxy.url, log: pino({ level: "silent" }), ...options });
  opened.push(database);
  return database;
}

const read = (database: Database, orgId = "org_a") =>
  database.read(orgId, (tx) => tx.select({ id: orgs.id }).from(orgs));

/** A change that calls out before each of its statements, and once more before it commits. */
const change = (database: Database, before: (step: number) => void) =>
  database.change("org_a", async (tx) => {
    before(0);
    const id = randomUUID();
    await tx.insert(users).values({ orgId: "org_a", id, email: `${id}@example.com` });
    before(1);
    await append(tx, "service", { action: "user.create", target: id, details: {} });
    before(2);
  });

/** How long it took to fail. */
async function msToFail(work: Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await expect(work).rejects.toBeInstanceOf(DatabaseUnavailable);
  return performance.now() - begun;
}

// Side by side, since they only wait: each with a way to the database of its own.
describe.concurrent("when the database goes silent, an operation ends at its one deadline", () => {
  // Each step had a deadline of its own once, so that a change took the sum of them.
  const deadlineMs = 1_500;
  const tooLate = deadlineMs * 2;

  async function openAlone(options: Partial<DatabaseOptions> = {}) {
    const own = await startProxy(postgres.url);
    const silent = pino({ level: "silent" });
    const database = createDatabase({ url: own.url, log: silent, poolSize: 1, deadlineMs, ...options });
    return {
      database,
      goSilent: () => own.blackHole(),
      async [Symbol.asyncDispose]() {
        await own.close();
        await database.close();
      },
    };
  }

  test("if its connection was idle", async () => {
    await using alone = await openAlone();
    await read(alone.database);
    alone.goSilent();
    expect(await msToFail(read(alone.database))).toBeLessThan(tooLate);
  });

  test("if its connection is not open yet", async () => {
    await using alone = await openAlone();
    alone.goSilent();
    expect(await msToFail(read(alone.database))).toBeLessThan(tooLate);
  });

  test("if it is a single statement", async () => {
    await using alone = await openAlone();
    alone.goSilent();
    const one = alone.database.single((tx) => tx.execute(sql`select 1`));
    expect(await msToFail(one)).toBeLessThan(tooLate);
  });

  test.each([0, 1, 2])("if it is a change that is at step %i", async (at) => {
    await using alone = await openAlone();
    const ms = await msToFail(change(alone.database, (step) => step === at && alone.goSilent()));
    expect(ms).toBeLessThan(tooLate);
  });

  test("however long it has waited for a connection before", async () => {
    await using alone = await openAlone({ deadlineMs: 3_000 });
    const before = alone.database.read("org_a", (tx) => tx.execute(sql`select pg_sleep(1.8)`));
    const ms = await msToFail(change(alone.database, (step) => step === 0 && alone.goSilent()));
    await before;
    // 1.8 s and the whole deadline would be 4.8 s.
    expect(ms).toBeLessThan(4_300);
  });
});

test("operations that follow each other wait for the deadline of a silent database only once", async () => {
  const database = open({ deadlineMs: 2_500 });
  await read(database);
  proxy.blackHole();
  const begun = performance.now();
  for (let n = 0; n < 3; n++) await msToFail(read(database));
  expect(performance.now() - begun).toBeLessThan(5_000);
  await proxy.close();
  await proxy.reopen();
  expect(await read(database)).toHaveLength(1);
});

test("one connection that does not answer ends the idle ones, which may be as dead", async () => {
  const database = open({ poolSize: 8, deadlineMs: 2_000 });
  const together = async (count: number) =>
    Promise.all(Array.from({ length: count }, (_, n) => read(database, n % 2 === 0 ? "org_a" : "org_b")));
  await together(4);
  // As a firewall does that has forgotten the connections: what is sent on them is dropped, new ones work.
  proxy.freeze();
  await msToFail(read(database));
  expect(await together(4)).toHaveLength(4);
});

test("a statement that takes too long is ended by the server, and the connection goes on", async () => {
  const database = open({ poolSize: 1, deadlineMs: 2_000 });
  const pid = async () => {
    const [row] = await database.read("org_a", (tx) => tx.execute(sql`select pg_backend_pid() as pid`));
    return row!["pid"];
  };
  const slow = () => database.read("org_a", (tx) => tx.execute(sql`select pg_sleep(60)`));
  const ending = async () => {
    const before = await pid();
    const message = await slow().then(
      () => "it was not ended",
      (error: unknown) => (error as Error).message,
    );
    return [message, (await pid()) === before];
  };
  // On a machine so busy that the server's answer comes late, the connection is given up before.
  const byServer = ["the database is too busy and nothing was changed: try again in a moment", true];
  await expect.poll(ending).toStrictEqual(byServer);
});

describe("while one organisation has more waiting than can be served", () => {
  test("others read, and keys are looked up, though all that it has waits for one locked row", async () => {
    const database = open();
    await postgres.asOwner(
      "insert into users (org_id, id, email) values ('org_a', 'ada', 'ada@example.com')",
    );
    await postgres.asOwner("begin");
    await postgres.asOwner("select from users where id = 'ada' for update");
    let ended = 0;
    const locked = Array.from({ length: 400 }, async () => {
      await database
        .record("org_a", (tx) => tx.update(users).set({ role: "admin" }))
        .finally(() => (ended += 1));
    });
    for (let n = 0; n < 20; n++) {
      expect(await read(database, "org_b")).toStrictEqual([{ id: "org_b" }]);
      expect(await database.single((tx) => tx.execute(sql`select 1 as one`))).toMatchObject([{ one: 1 }]);
    }
    // Unless twenty reads took as long as a lock may be waited for, all of them are still there.
    const endedMeanwhile = ended;
    await postgres.asOwner("commit");
    await Promise.allSettled(locked);
    expect(endedMeanwhile).toBe(0);
  });

  test("what cannot be served in time says to try again, and the rest is served", async () => {
    const database = open({ poolSize: 4, deadlineMs: 3_000 });
    const nap = () => database.read("org_a", (tx) => tx.execute(sql`select pg_sleep(0.05)`));
    const results = await Promise.allSettled(Array.from({ length: 400 }, nap));
    const refused = results.filter((result) => result.status === "rejected");
    for (const { reason } of refused) {
      expect(reason).toMatchObject({
        message:
          "too many calls of your organisation wait for the database, and nothing was changed: try again in a moment, " +
          "and make fewer at a time",
        reason: "TOO_MANY_CALLS",
        headers: { "retry-after": "1" },
      });
    }
    expect(refused.length).toBeGreaterThan(0);
    expect(results.length - refused.length).toBeGreaterThan(2);
  });

  test("an organisation that finds no connection free learns that the database is busy", async () => {
    const database = open({ poolSize: 1, deadlineMs: 400 });
    const held = database.read("org_a", () => new Promise<never>(() => undefined));
    const waiting = database.read("org_b", async () => 1);
    const refused = await Promise.allSettled([held, waiting]);
    expect(refused[1]).toMatchObject({
      reason: { message: expect.stringContaining("the database is too busy") },
    });
  });
});
