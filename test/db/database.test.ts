import { inspect } from "node:util";
import { boolean, eq, integer, json, jsonb, pgTable, sql, text, timestamp } from "#src/db/drizzle.cjs";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { append } from "#src/audit/append.ts";
import { createDatabase, unchanged, type Database, type Tx } from "#src/db/database.ts";
import { DatabaseError, DatabaseUnavailable, isUniqueViolation } from "#src/db/errors.ts";
import { orgs, users } from "#src/directory/schema.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let postgres: TestDatabase;
let database: Database;

beforeAll(async () => {
  postgres = await createTestDatabase();
  await postgres.asOwner("insert into orgs (id, name) values ('org_a', 'A'), ('org_b', 'B')");
  database = open();
});
afterEach(() => postgres.asOwner("delete from users"));
afterAll(async () => {
  await database.close();
  await postgres[Symbol.asyncDispose]();
});

function open(poolSize = 4): Database {
  return createDatabase({ url: postgres.url, log: pino({ level: "silent" }), poolSize });
}

async function insertUser(tx: Tx, orgId: string, id: string): Promise<void> {
  await tx.insert(users).values({ orgId, id, email: `${id}@example.com` });
}

async function recordUser(tx: Tx, id: string): Promise<void> {
  await append(tx, "service", { action: "user.create", target: id, details: {} });
}

async function createUser(orgId: string, id: string): Promise<void> {
  await database.change(orgId, async (tx) => {
    await insertUser(tx, orgId, id);
    await recordUser(tx, id);
  });
}

async function countUsers(): Promise<number> {
  const [row] = await postgres.asOwner("select count(*)::int as count from users");
  return Number(row?.["count"]);
}

describe("an organisation", () => {
  test("sees its own rows and no other's", async () => {
    await createUser("org_a", "ada");
    await createUser("org_b", "bob");
    const seen = await database.read("org_a", (tx) => tx.select({ id: users.id }).from(users));
    expect(seen).toEqual([{ id: "ada" }]);
  });

  test("cannot write a row of another, nor move its own there", async () => {
    await createUser("org_a", "ada");
    const foreign = database.record("org_a", (tx) => insertUser(tx, "org_b", "mallory"));
    await expect(foreign).rejects.toMatchObject({ code: "42501" });
    const moved = database.record("org_a", (tx) => tx.update(users).set({ orgId: "org_b" }));
    await expect(moved).rejects.toMatchObject({ code: "42501" });
  });

  test("cannot change or delete another's rows, which look as if they were not there", async () => {
    await createUser("org_b", "bob");
    const changed = await database.record("org_a", (tx) =>
      tx.update(users).set({ role: "admin" }).where(eq(users.id, "bob")).returning(),
    );
    const deleted = await database.record("org_a", (tx) =>
      tx.delete(users).where(eq(users.id, "bob")).returning(),
    );
    expect([changed, deleted]).toEqual([[], []]);
    expect(await countUsers()).toBe(1);
  });

  test("must be named", async () => {
    await expect(async () => database.read("", (tx) => tx.select().from(users))).rejects.toThrow(
      "organisation",
    );
  });
});

test("without an organisation nothing is seen and nothing can be written", async () => {
  await createUser("org_a", "ada");
  expect(await database.system((tx) => tx.select().from(users))).toEqual([]);
  expect(await database.system((tx) => tx.select().from(orgs))).toEqual([]);
  const written = database.system((tx) => insertUser(tx, "org_a", "eve"));
  await expect(written).rejects.toMatchObject({ code: "42501" });
});

test("neither organisation nor role stays on a connection after its transaction, however it ended", async () => {
  await using single = Object.assign(open(1), { [Symbol.asyncDispose]: () => single.close() });
  const left = () =>
    single.system((tx) =>
      tx.execute(
        sql`select current_setting('app.org_id') as org, current_setting('app.audited', true) as audited`,
      ),
    );
  await single.read("org_a", (tx) => tx.select().from(users));
  expect(await left()).toEqual([{ org: "", audited: null }]);
  await single.change("org_a", (tx) => recordUser(tx, "nobody"));
  expect(await left()).toEqual([{ org: "", audited: "" }]);
  await expect(single.read("org_a", (tx) => tx.execute(sql`select 1 / 0`))).rejects.toThrow("22012");
  expect(await left()).toEqual([{ org: "", audited: "" }]);
});

test("neither a read nor a single statement can write", async () => {
  const readOnly = { code: "25006" };
  await expect(database.read("org_a", (tx) => insertUser(tx, "org_a", "ada"))).rejects.toMatchObject(
    readOnly,
  );
  await expect(database.single((tx) => insertUser(tx, "org_a", "ada"))).rejects.toMatchObject(readOnly);
});

test("a single statement sees nothing of any organisation, and its failure leaves the connection usable", async () => {
  await using one = Object.assign(open(1), { [Symbol.asyncDispose]: () => one.close() });
  await createUser("org_a", "ada");
  expect(await one.single((tx) => tx.select().from(users))).toEqual([]);
  await expect(one.single((tx) => tx.execute(sql`select 1 / 0`))).rejects.toThrow("22012");
  expect(await one.read("org_a", (tx) => tx.select({ id: users.id }).from(users))).toEqual([{ id: "ada" }]);
});

describe("what a transaction sees of others", () => {
  const roles = (tx: Tx) => tx.select({ role: users.role }).from(users);
  const promote = () =>
    database.record("org_a", async (tx) => void (await tx.update(users).set({ role: "admin" })));

  test("is, in a read, what was there when it began, in all its statements", async () => {
    await createUser("org_a", "ada");
    const seen = await database.read("org_a", async (tx) => {
      const before = await roles(tx);
      await promote();
      return [before, await roles(tx)];
    });
    expect(seen[1]).toStrictEqual(seen[0]);
    expect(await database.read("org_a", roles)).not.toStrictEqual(seen[0]);
  });

  test("is, in a change, what is there by each of its statements, so that a lock comes before what it protects", async () => {
    await createUser("org_a", "ada");
    const seen = await database.record("org_a", async (tx) => {
      await promote();
      return roles(tx);
    });
    expect(seen).toStrictEqual([{ role: "admin" }]);
  });

  test("does not depend on what the server would do by itself", async () => {
    const setDefault = (action: string) =>
      postgres.asOwner(
        `do $$ begin execute format('alter database %I ${action}', current_database()); end $$`,
      );
    await setDefault("set default_transaction_isolation = ''serializable''");
    await using fresh = Object.assign(open(2), { [Symbol.asyncDispose]: () => fresh.close() });
    const level = (tx: Tx) => tx.execute(sql`select current_setting('transaction_isolation') as level`);
    expect(await fresh.single(level)).toEqual([{ level: "serializable" }]);
    expect(await fresh.read("org_a", level)).toEqual([{ level: "repeatable read" }]);
    expect(await fresh.record("org_a", level)).toEqual([{ level: "read committed" }]);
    await setDefault("reset default_transaction_isolation");
  });
});

describe("a change", () => {
  test("that appends no audit event does not happen", async () => {
    const silent = database.change("org_a", (tx) => insertUser(tx, "org_a", "ada"));
    await expect(silent).rejects.toThrow("the change appended no audit event");
    expect(await countUsers()).toBe(0);
  });

  test("is not covered by the event of the change before on the same connection", async () => {
    await using single = Object.assign(open(1), { [Symbol.asyncDispose]: () => single.close() });
    await single.change("org_a", (tx) => recordUser(tx, "first"));
    await expect(single.change("org_a", (tx) => insertUser(tx, "org_a", "second"))).rejects.toThrow("PB001");
    expect(await countUsers()).toBe(0);
  });

  test("that turns out to be none answers its value, and leaves neither rows nor events", async () => {
    const [before] = await postgres.asOwner("select count(*) from audit_events");
    const answer = await database.change("org_a", async (tx) => {
      await insertUser(tx, "org_a", "ada");
      await recordUser(tx, "ada");
      return unchanged("was there already");
    });
    expect(answer).toBe("was there already");
    expect(await countUsers()).toBe(0);
    expect(await postgres.asOwner("select count(*) from audit_events")).toMatchObject([before]);
  });

  test("that throws leaves nothing", async () => {
    const failing = database.change("org_a", async (tx) => {
      await insertUser(tx, "org_a", "ada");
      await recordUser(tx, "ada");
      throw new RangeError("on purpose");
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect(await countUsers()).toBe(0);
  });

  test("does not claim to be made when a failed statement was ignored, which makes Postgres roll back", async () => {
    const ignoring = database.record("org_a", async (tx) => {
      await insertUser(tx, "org_a", "ada");
      await tx.execute(sql`select 1 / 0`).catch(() => undefined);
    });
    await expect(ignoring).rejects.toThrow("rolled back instead of committed");
    expect(await countUsers()).toBe(0);
  });

  test("fails as a whole when a statement nobody waited for fails", async () => {
    const careless = database.change("org_a", async (tx) => {
      await insertUser(tx, "org_a", "ada");
      await recordUser(tx, "ada");
      void insertUser(tx, "org_a", "ada").catch(() => undefined);
    });
    await expect(careless).rejects.toThrow();
    expect(await countUsers()).toBe(0);
  });
});

describe("a transaction", () => {
  test("cannot be used when it is over", async () => {
    let kept: Tx | undefined;
    await database.read("org_a", async (tx) => {
      kept = tx;
    });
    await expect(async () => kept?.select().from(users)).rejects.toThrow("the transaction is over");
  });

  test("cannot begin another inside, which would commit the outer one", async () => {
    const nested = database.record("org_a", async (tx) => {
      await insertUser(tx, "org_a", "ada");
      await (tx as unknown as { transaction(run: () => Promise<void>): Promise<void> }).transaction(
        async () => {},
      );
    });
    await expect(nested).rejects.toThrow("inside a transaction");
    expect(await countUsers()).toBe(0);
  });

  test("waits for a free connection", async () => {
    await using single = Object.assign(open(1), { [Symbol.asyncDispose]: () => single.close() });
    const release = Promise.withResolvers<void>();
    const holding = single.read("org_a", () => release.promise);
    const waiting = single.read("org_a", async () => 2);
    release.resolve();
    await holding;
    expect(await waiting).toBe(2);
  });

  test("that runs when the database is closed still ends well, and later ones are refused", async () => {
    const closing = open(1);
    const release = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const running = closing.record("org_a", async (tx) => {
      begun.resolve();
      await release.promise;
      await insertUser(tx, "org_a", "ada");
    });
    await begun.promise;
    const closed = closing.close();
    await expect(closing.read("org_a", async () => 1)).rejects.toBeInstanceOf(DatabaseUnavailable);
    release.resolve();
    await running;
    await closed;
    expect(await countUsers()).toBe(1);
    await expect(closing.read("org_a", async () => 1)).rejects.toBeInstanceOf(DatabaseUnavailable);
  });
});

describe("an error", () => {
  const secret = "s3cr3t-canary";
  const failures: [string, (tx: Tx) => Promise<unknown>][] = [
    ["a duplicate", (tx) => tx.insert(users).values([ada(secret), ada(secret)])],
    ["a broken check", (tx) => tx.insert(users).values({ ...ada("x"), status: secret as "active" })],
    ["a value of the wrong type", (tx) => tx.execute(sql`select ${secret}::int`)],
    ["a value that cannot be sent", (tx) => tx.execute(sql`select ${{ [secret]: secret }}::bytea`)],
    ["an undefined value", (tx) => tx.execute(sql`select ${secret}, ${undefined}`)],
    ["a missing table", (tx) => tx.execute(sql`select ${secret} from nowhere`)],
    [
      "a raised exception",
      (tx) => tx.execute(sql`select audit_append(null, ${secret}, null, null, null, '{}')`),
    ],
  ];

  function ada(email: string) {
    return { orgId: "org_a", id: email.slice(0, 3), email };
  }

  test.each(failures)("from %s carries no value of the statement", async (_, fail) => {
    let seenInside: unknown;
    const error: unknown = await database
      .record("org_a", (tx) =>
        fail(tx).catch((inside: unknown) => {
          seenInside = inside;
          throw inside;
        }),
      )
      .then(
        () => undefined,
        (outside: unknown) => outside,
      );
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(DatabaseUnavailable);
    for (const shown of [error, seenInside]) {
      expect(inspect(shown, { showHidden: true, depth: 20 })).not.toContain(secret);
      expect(JSON.stringify(shown)).not.toContain(secret);
    }
    expect(await database.read("org_a", (tx) => tx.select().from(orgs))).toHaveLength(1);
  });

  test("tells stores which promise of the database was broken", async () => {
    await createUser("org_a", "ada");
    const duplicate = database.record("org_a", (tx) =>
      tx.insert(users).values({ orgId: "org_a", id: "other", email: "ADA@example.com" }),
    );
    const error: unknown = await duplicate.catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(DatabaseError);
    expect(isUniqueViolation(error, "users_org_id_email_key")).toBe(true);
    expect(isUniqueViolation(error, "users_org_id_id_pk")).toBe(false);
  });

  test("that passes by itself says to try again", async () => {
    const slow = database.read("org_a", async (tx) => {
      await tx.execute(sql`set local statement_timeout = 20`);
      await tx.execute(sql`select pg_sleep(5)`);
    });
    await expect(slow).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE", kind: "unavailable" });
    await expect(slow).rejects.toThrow("nothing was changed: try again");
  });
});

describe("a value", () => {
  const samples = pgTable("samples", {
    kept: json().$type<unknown>(),
    sorted: jsonb().$type<unknown>(),
    words: text().array(),
    numbers: integer().array().array(),
    flags: boolean().array(),
    at: timestamp({ withTimezone: true, precision: 3 }),
  });

  test("comes back from a column as it was stored", async () => {
    await postgres.asOwner(`
      create table samples (kept json, sorted jsonb, words text[], numbers int[][], flags bool[], at timestamptz(3))`);
    await postgres.asOwner("grant all on samples to patchbay_app");
    const stored = fc.record({
      // A JSON null and SQL's null are one and the same to drizzle; Postgres takes no NUL.
      kept: fc.jsonValue().filter((value) => value !== null && !JSON.stringify(value).includes("\\u0000")),
      words: fc.array(fc.string({ unit: "grapheme" }).filter((word) => !word.includes("\0"))),
      numbers: fc.constantFrom<number[][][]>(
        [],
        [
          [1, 2],
          [-3, 4],
        ],
      ),
      flags: fc.array(fc.boolean()),
      at: fc.date({ noInvalidDate: true, min: new Date("1900-01-01"), max: new Date("2200-01-01") }),
    });
    await fc.assert(
      fc.asyncProperty(stored, async (values) => {
        const row = { ...values, sorted: values.kept };
        const [read] = await database.record("org_a", (tx) => tx.insert(samples).values(row).returning());
        const kept = JSON.parse(JSON.stringify(values.kept)) as unknown;
        expect(read).toEqual({ ...values, kept, sorted: kept });
      }),
      { numRuns: 60 },
    );
  });

  const lists: [string, unknown[]][] = [
    ["text[]", ["a", 'quoted "b"', "back\\slash", "{c,d}", "NULL", "", "line\nbreak", null]],
    ["bytea[]", [Buffer.from([0, 255, 92]), Buffer.from("text")]],
    ["boolean[]", [true, false, null]],
    ["integer[]", [1, -2, null]],
    ["json[]", ['{"a": ["b"]}']],
  ];
  test.each(lists)("can be a list: %s", async (type, list) => {
    const [row] = await database.read("org_a", (tx) =>
      tx.execute(sql`select ${sql.param(list)}::${sql.raw(type)} as list`),
    );
    expect(row).toEqual({ list });
  });

  test("can be a list of moments", async () => {
    const moment = new Date("2026-05-24T08:14:22.123Z");
    const [row] = await database.read("org_a", (tx) =>
      tx.execute(sql`select ${moment} = any(${sql.param([moment])}::timestamptz[]) as found`),
    );
    expect(row).toEqual({ found: true });
  });
});

describe("a notification of a change", () => {
  /** A change of a key, such as triggers announce. */
  const announce = (on: Database, what: string, outcome: "commits" | "fails" | "is unaudited" | "is none") =>
    on.change("org_a", async (tx) => {
      await tx.execute(sql`select announce(${what})`);
      if (outcome !== "is unaudited") await recordUser(tx, "ada");
      if (outcome === "fails") throw new Error("changed its mind");
      return outcome === "is none" ? unchanged(undefined) : undefined;
    });

  /** Everything that a process is notified of. */
  async function listening(on: Database) {
    const heard: string[] = [];
    const states: boolean[] = [];
    await on.listen({ notified: (what) => heard.push(what), listening: (is) => states.push(is) });
    return { heard, states };
  }

  test("arrives in its own process before the change is answered, and in others soon after", async () => {
    const other = open();
    const [here, there] = [await listening(database), await listening(other)];
    expect([here.states, there.states]).toStrictEqual([[true], [true]]);
    await announce(database, "key/org_a/1", "commits");
    expect(here.heard[0]).toBe("key/org_a/1");
    await vi.waitUntil(() => there.heard.length > 0);
    expect(there.heard).toStrictEqual(["key/org_a/1"]);
    await other.close();
  });

  test("does not arrive if the change does not commit", async () => {
    const other = open();
    const { heard } = await listening(other);
    await expect(announce(database, "a", "fails")).rejects.toThrow("changed its mind");
    await expect(announce(database, "b", "is unaudited")).rejects.toThrow("appended no audit event");
    await announce(database, "c", "is none");
    await announce(database, "d", "commits");
    await vi.waitUntil(() => heard.length > 0);
    expect(heard).toStrictEqual(["d"]);
    await other.close();
  });

  test("that was sent while the connection was away is reported as missed", async () => {
    const other = open();
    const { heard, states } = await listening(other);
    await postgres.asOwner(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'patchbay listener'",
    );
    await vi.waitUntil(() => states.includes(false), { timeout: 50_000 });
    await announce(database, "missed", "commits");
    await vi.waitUntil(() => states.at(-1) === true, { timeout: 50_000 });
    await announce(database, "heard", "commits");
    await vi.waitUntil(() => heard.includes("heard"), { timeout: 50_000 });
    expect(states).toStrictEqual([true, false, true]);
    await other.close();
  });
});
