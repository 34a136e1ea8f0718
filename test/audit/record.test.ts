import { sql } from "#src/db/drizzle.cjs";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { append } from "#src/audit/append.ts";
import { listEvents, readHead, type EventFilter } from "#src/audit/store.ts";
import { createVerifyRecord } from "#src/audit/verify-record.ts";
import { createDatabase, type Database, type Tx } from "#src/db/database.ts";
import { orgs } from "#src/directory/schema.ts";
import type { Call } from "#src/platform/caller.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let postgres: TestDatabase;
let database: Database;
let count = 0;

beforeAll(async () => {
  postgres = await createTestDatabase();
  database = createDatabase({ url: postgres.url, log: pino({ level: "silent" }) });
});
afterAll(async () => {
  await database.close();
  await postgres[Symbol.asyncDispose]();
});

/** A new organisation with so many events: `step.1`, `step.2`, … */
async function organisationWith(events: number): Promise<string> {
  const orgId = `org_${count++}`;
  for (let n = 1; n <= events; n++) await step(orgId, n);
  return orgId;
}

function step(orgId: string, n: number): Promise<void> {
  return database.change(orgId, (tx) =>
    append(tx, "service", { action: `step.${n}`, target: `t${n % 2}`, details: { n } }),
  );
}

/** A reader whose key is not limited to some connections. */
function unlimited(orgId: string) {
  return { orgId, environment: "sandbox", connections: undefined } as const;
}

async function list(orgId: string, filter: Partial<EventFilter> = {}) {
  return await database.read(orgId, (tx) => listEvents(tx, unlimited(orgId), { limit: 100, ...filter }));
}

describe("an event", () => {
  const call: Call = {
    requestId: "req_1",
    authorizationLines: 1,
    auditActions: ["connection.upsert"],
    caller: {
      orgId: "org_call",
      via: { kind: "api_key", id: "key_1", boundUserId: undefined },
      name: "bot",
      environment: "live",
      scopes: [],
      userId: "usr_1",
      expiresAt: undefined,
      rateLimitPerMinute: undefined,
      connections: undefined,
    },
  };

  test("holds both the key and the user who answers for it, and the request", async () => {
    await database.change("org_call", (tx) =>
      append(tx, call, {
        action: "connection.upsert",
        target: "scn_1",
        details: { old: null, new: "sha256:1" },
      }),
    );
    const [event] = await list("org_call");
    expect(event).toMatchObject({
      ...{ orgId: "org_call", seq: 1n, action: "connection.upsert", target: "scn_1" },
      ...{
        apiKeyId: "key_1",
        userId: "usr_1",
        requestId: "req_1",
      },
      details: '{"old":null,"new":"sha256:1"}',
    });
    expect(Math.abs(Date.now() - (event?.at?.getTime() ?? 0))).toBeLessThan(60_000);
  });

  test("of a call without a caller is refused", async () => {
    const nobody: Call = { requestId: "req_2", authorizationLines: 0 };
    const refused = database.change("org_call", (tx) =>
      append(tx, nobody, { action: "a", target: "t", details: {} }),
    );
    await expect(refused).rejects.toThrow("without a caller");
  });

  test("of an action that the method does not declare is refused", async () => {
    const refused = database.change("org_call", (tx) =>
      append(tx, call, { action: "a", target: "t", details: {} }),
    );
    await expect(refused).rejects.toThrow("does not declare the action a");
  });

  test("belongs to the organisation of its transaction, and outside of one there is none", async () => {
    const nowhere = database.system((tx) => append(tx, "service", { action: "a", target: "t", details: {} }));
    await expect(nowhere).rejects.toThrow("an audit event needs an organisation");
  });
});

describe("the list", () => {
  test("is newest first and goes on where the page before ended", async () => {
    const orgId = await organisationWith(5);
    const first = await list(orgId, { limit: 2 });
    const second = await list(orgId, { limit: 2, before: first.at(-1)?.seq });
    expect([...first, ...second].map(({ seq }) => seq)).toEqual([5n, 4n, 3n, 2n]);
  });

  test("can be narrowed to an action, a target, or both", async () => {
    const orgId = await organisationWith(5);
    const narrowed = async (filter: Partial<EventFilter>) =>
      (await list(orgId, filter)).map(({ seq }) => seq);
    expect(await narrowed({ action: "step.3" })).toEqual([3n]);
    expect(await narrowed({ target: "t1" })).toEqual([5n, 3n, 1n]);
    expect(await narrowed({ target: "t1", before: 5n })).toEqual([3n, 1n]);
    expect(await narrowed({ action: "step.3", target: "t0" })).toEqual([]);
  });

  test("shows nothing of another organisation, even to a query that names it", async () => {
    const [ours, theirs] = [await organisationWith(1), await organisationWith(2)];
    expect(await list(theirs)).toHaveLength(2);
    expect(await database.read(ours, (tx) => listEvents(tx, unlimited(theirs), { limit: 10 }))).toEqual([]);
    expect(await database.read(ours, (tx) => readHead(tx, theirs))).toMatchObject({ seq: 0n });
  });
});

describe("a change and its event", () => {
  const insertOrg = async (tx: Tx, orgId: string) => {
    await tx.insert(orgs).values({ id: orgId, name: "new" });
    await append(tx, "service", { action: "org.create", target: orgId, details: {} });
  };
  const stored = async (orgId: string) =>
    await database.read(orgId, async (tx) => [
      await tx.select().from(orgs),
      await listEvents(tx, unlimited(orgId), { limit: 9 }),
    ]);

  test("roll back together", async () => {
    const failing = database.change("org_undone", async (tx) => {
      await insertOrg(tx, "org_undone");
      throw new Error("on purpose");
    });
    await expect(failing).rejects.toThrow("on purpose");
    expect(await stored("org_undone")).toEqual([[], []]);
  });

  test("do not happen when the audit function fails", async () => {
    await using broken = await createTestDatabase();
    await broken.asOwner("alter table audit_events add constraint full_disk check (false)");
    const other = createDatabase({ url: broken.url, log: pino({ level: "silent" }) });
    await expect(other.change("org_a", (tx) => insertOrg(tx, "org_a"))).rejects.toMatchObject({
      constraint: "full_disk",
    });
    await other.close();
    expect(await broken.asOwner("select * from orgs")).toEqual([]);
  });

  test("form one unbroken chain, however many are made at once", async () => {
    const orgId = await organisationWith(0);
    await Promise.all(Array.from({ length: 40 }, (_, n) => step(orgId, n)));
    const events = await list(orgId);
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 40 }, (_, n) => BigInt(40 - n)));
    expect(await createVerifyRecord(database)(orgId)).toMatchObject({ verified: 40n, head: { seq: 40n } });
  });
});

describe("the service's role", () => {
  const attempts = [
    "update audit_events set action = 'x'",
    "delete from audit_events",
    "truncate audit_events",
    "insert into audit_events select * from audit_events",
    "update audit_heads set seq = 0",
    "delete from audit_heads",
    "insert into audit_heads values ('org_0', 0, '')",
    "drop trigger audit_is_final on audit_events",
  ];
  test.each(attempts)("cannot %s", async (statement) => {
    const orgId = await organisationWith(1);
    const attempt = database.record(orgId, (tx) => tx.execute(sql.raw(statement)));
    await expect(attempt).rejects.toMatchObject({ code: "42501" });
  });

  test.each(["update audit_events set action = 'x'", "delete from audit_events", "truncate audit_events"])(
    "is not alone in that: the owner's slip is stopped as well (%s)",
    async (statement) => {
      await expect(postgres.asOwner(statement)).rejects.toMatchObject({ code: "PB003" });
    },
  );
});
