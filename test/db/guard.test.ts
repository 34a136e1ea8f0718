import { eq, sql } from "#src/db/drizzle.cjs";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { append } from "#src/audit/append.ts";
import { createDatabase, type Database, type DatabaseOptions, type Tx } from "#src/db/database.ts";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import { orgs, users } from "#src/directory/schema.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

// Each of these was seen to go wrong with postgres.js 3.4.9 alone.

let postgres: TestDatabase;
const opened: Database[] = [];

beforeAll(async () => {
  postgres = await createTestDatabase();
  await postgres.asOwner("insert into orgs (id, name) values ('org_a', 'A'), ('org_b', 'B')");
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((database) => database.close()));
  await postgres.asOwner("delete from users");
});
afterAll(() => postgres[Symbol.asyncDispose]());

function open(options: Partial<DatabaseOptions> = {}): Database {
  const database = createDatabase({ url: postgres.url, log: pino({ level: "silent" }), ...options });
  opened.push(database);
  return database;
}

async function insertUser(tx: Tx, orgId: string, id: string): Promise<void> {
  await tx.insert(users).values({ orgId, id, email: `${id}@example.com` });
}

async function recordUser(tx: Tx, id: string): Promise<void> {
  await append(tx, "service", { action: "user.create", target: id, details: {} });
}

async function storedUsers(): Promise<string[]> {
  const rows = await postgres.asOwner("select org_id || '/' || id as name from users order by 1");
  return rows.map((row) => String(row["name"]));
}

/** Ends the session of the transaction from inside, and does not return before it ended. */
const endings: Record<string, (tx: Tx) => Promise<void>> = {
  "the backend is killed": async (tx) => {
    const [self] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
    await postgres.asOwner("select pg_terminate_backend($1, 5000)", [self?.pid]);
  },
  "the server ends the idle transaction": async (tx) => {
    const [self] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
    await tx.execute(sql`set local idle_in_transaction_session_timeout = 20`);
    await untilGone(self?.pid);
  },
};

async function untilGone(pid: number | undefined): Promise<void> {
  for (;;) {
    const rows = await postgres.asOwner("select from pg_stat_activity where pid = $1", [pid]);
    if (rows.length === 0) return;
  }
}

describe.each(Object.entries(endings))("when %s inside a transaction", (_, end) => {
  test("nothing of it gets into another organisation's transaction", async () => {
    const database = open({ poolSize: 1 });
    const otherHasBegun = Promise.withResolvers<void>();
    const firstWentOn = Promise.withResolvers<unknown>();

    const first = database.change("org_a", async (tx) => {
      await insertUser(tx, "org_a", "before");
      await end(tx);
      await otherHasBegun.promise;
      // Unguarded, this ran in the second transaction, on the connection that replaced ours.
      await insertUser(tx, "org_b", "after").catch(firstWentOn.resolve);
      firstWentOn.resolve("it worked");
    });
    await expect(first).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });

    await database.change("org_b", async (tx) => {
      await insertUser(tx, "org_b", "second");
      otherHasBegun.resolve();
      expect(await firstWentOn.promise).toBeInstanceOf(Error);
      await recordUser(tx, "second");
    });
    expect(await storedUsers()).toEqual(["org_b/second"]);
  });

  test("its end does not commit what another organisation's transaction rolls back", async () => {
    const database = open({ poolSize: 1 });
    const otherHasWritten = Promise.withResolvers<void>();
    const firstReturned = Promise.withResolvers<void>();

    const first = database.change("org_a", async (tx) => {
      await end(tx);
      await otherHasWritten.promise;
      firstReturned.resolve();
    });
    await expect(first).rejects.toBeInstanceOf(DatabaseUnavailable);

    const second = database.change("org_b", async (tx) => {
      await insertUser(tx, "org_b", "second");
      await recordUser(tx, "second");
      otherHasWritten.resolve();
      await firstReturned.promise;
      throw new Error("on purpose");
    });
    await expect(second).rejects.toThrow("on purpose");
    expect(await storedUsers()).toEqual([]);
  });

  test("statements that were waiting behind the lost one are not sent anew", async () => {
    const database = open({ poolSize: 1 });
    const lost = database.record("org_a", async (tx) => {
      const killed = end(tx);
      // Statements with parameters that Postgres has not seen yet wait in the driver for their description.
      const waiting = Array.from({ length: 20 }, (__, n) => insertUser(tx, "org_a", `u${n}`));
      await Promise.allSettled([killed, ...waiting]);
      await tx.execute(sql`select 1`);
    });
    await expect(lost).rejects.toBeInstanceOf(DatabaseUnavailable);
    expect(await storedUsers()).toEqual([]);
  });
});

test.each([99, 100, 101, 250])("%i statements in flight stay in their transaction", async (count) => {
  const database = open({ poolSize: 2 });
  const fill = (orgId: string) =>
    database.change(orgId, async (tx) => {
      await Promise.all(Array.from({ length: count }, (_, n) => insertUser(tx, orgId, `u${n}`)));
      await recordUser(tx, "all");
    });
  const rolledBack = database.change("org_a", async (tx) => {
    await Promise.all(Array.from({ length: count }, (_, n) => insertUser(tx, "org_a", `r${n}`)));
    throw new Error("on purpose");
  });
  await Promise.all([fill("org_a"), fill("org_b"), expect(rolledBack).rejects.toThrow("on purpose")]);
  const names = await storedUsers();
  expect(names).toHaveLength(2 * count);
  expect(names.filter((name) => name.includes("/r"))).toEqual([]);
});

test("a hundred operations at once each see their own organisation", async () => {
  const database = open({ poolSize: 4 });
  const seen = await Promise.all(
    Array.from({ length: 100 }, (_, n) => {
      const orgId = n % 2 === 0 ? "org_a" : "org_b";
      return database.read(orgId, async (tx) => {
        const rows = await tx.select({ id: orgs.id }).from(orgs);
        return rows.length === 1 && rows[0]?.id === orgId;
      });
    }),
  );
  expect(seen.every(Boolean)).toBe(true);
});

test("work that never settles is given up at the deadline", async () => {
  const database = open({ poolSize: 1, deadlineMs: 300 });
  const stuck = database.read("org_a", () => new Promise<never>(() => undefined));
  await expect(stuck).rejects.toBeInstanceOf(DatabaseUnavailable);
  expect(await database.read("org_a", (tx) => tx.select().from(orgs))).toHaveLength(1);
});

test("no operation hangs while backends are killed under and between operations", async () => {
  const database = open({ poolSize: 2 });
  const killAll = () =>
    postgres.asOwner(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'patchbay' and datname = current_database()`,
    );
  const read = () =>
    database.read("org_a", async (tx) => {
      await tx.select().from(orgs).where(eq(orgs.id, "org_a"));
      await tx.execute(sql`select pg_sleep(0.002)`);
    });
  const outcomes = { answered: 0, refused: 0 };
  for (let round = 0; round < 20; round++) {
    const reads = Promise.allSettled(Array.from({ length: 8 }, read));
    await killAll();
    for (const result of await reads) {
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(DatabaseUnavailable);
      outcomes[result.status === "rejected" ? "refused" : "answered"]++;
    }
    await killAll();
  }
  expect(outcomes.answered).toBeGreaterThan(20);
  expect(outcomes.refused).toBeGreaterThan(0);
});

describe("a connection that is cut in COMMIT", () => {
  test("leaves the change in doubt, which the error says, since it may well have been made", async () => {
    await using proxy = await startProxy(postgres.url);
    const database = open({ url: proxy.url, poolSize: 1, deadlineMs: 2_000 });
    const change = database.change("org_a", async (tx) => {
      await insertUser(tx, "org_a", "doubtful");
      await recordUser(tx, "doubtful");
      proxy.holdAnswers();
    });
    await expect(change).rejects.toMatchObject({ metadata: { outcome: "unknown" } });
    await expect(change).rejects.toThrow("not known whether the change was made");
    expect(await storedUsers()).toEqual(["org_a/doubtful"]);
  });

  test("is no doubt if it was cut before: nothing was changed", async () => {
    await using proxy = await startProxy(postgres.url);
    const database = open({ url: proxy.url, poolSize: 1 });
    const change = database.change("org_a", async (tx) => {
      await insertUser(tx, "org_a", "never");
      await recordUser(tx, "never");
      proxy.cut();
      await tx.execute(sql`select 1`).catch(() => undefined);
    });
    await expect(change).rejects.toMatchObject({ metadata: { outcome: "nothing was changed" } });
    expect(await storedUsers()).toEqual([]);
  });
});

test("a database that is away answers at once, and works again when it is back", async () => {
  await using proxy = await startProxy(postgres.url);
  const database = open({ url: proxy.url, poolSize: 2 });
  const read = () => database.read("org_a", (tx) => tx.select().from(orgs));
  expect(await read()).toHaveLength(1);
  await proxy.close();
  const begun = performance.now();
  for (let n = 0; n < 5; n++) await expect(read()).rejects.toBeInstanceOf(DatabaseUnavailable);
  expect(performance.now() - begun).toBeLessThan(10_000);
  await proxy.reopen();
  expect(await read()).toHaveLength(1);
});
