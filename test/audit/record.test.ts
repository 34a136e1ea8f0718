import { sql } from "drizzle-orm";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { append } from "#src/audit/append.ts";
import { listEvents, readChain, readHead, type EventFilter } from "#src/audit/store.ts";
import { verify, type Fault, type Head } from "#src/audit/verify.ts";
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

async function list(orgId: string, filter: Partial<EventFilter> = {}) {
  return await database.read(orgId, (tx) => listEvents(tx, orgId, { limit: 100, ...filter }));
}

async function exportHead(orgId: string): Promise<Head> {
  const head = await database.read(orgId, (tx) => readHead(tx, orgId));
  if (head === undefined) throw new Error("nothing was recorded");
  return head;
}

async function check(orgId: string, ...exported: Head[]): Promise<Fault | undefined> {
  const stored = await exportHead(orgId);
  const events = await database.read(orgId, (tx) => readChain(tx, orgId, 0, 1_000));
  return verify(orgId, events, [stored, ...exported]);
}

/** What somebody with the owner's password can do: the trigger is only in the way of slips. */
async function tamper(...statements: string[]): Promise<void> {
  await postgres.asOwner("alter table audit_events disable trigger user");
  for (const statement of statements) await postgres.asOwner(statement);
  await postgres.asOwner("alter table audit_events enable trigger user");
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
      ...{ orgId: "org_call", seq: 1, action: "connection.upsert", target: "scn_1" },
      ...{
        apiKeyId: "key_1",
        userId: "usr_1",
        requestId: "req_1",
      },
      details: '{"old":null,"new":"sha256:1"}',
    });
    expect(Math.abs(Date.now() - (event?.at.getTime() ?? 0))).toBeLessThan(60_000);
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
    expect([...first, ...second].map(({ seq }) => seq)).toEqual([5, 4, 3, 2]);
  });

  test("can be narrowed to an action, a target, or both", async () => {
    const orgId = await organisationWith(5);
    const narrowed = async (filter: Partial<EventFilter>) =>
      (await list(orgId, filter)).map(({ seq }) => seq);
    expect(await narrowed({ action: "step.3" })).toEqual([3]);
    expect(await narrowed({ target: "t1" })).toEqual([5, 3, 1]);
    expect(await narrowed({ target: "t1", before: 5 })).toEqual([3, 1]);
    expect(await narrowed({ action: "step.3", target: "t0" })).toEqual([]);
  });

  test("shows nothing of another organisation, even to a query that names it", async () => {
    const [ours, theirs] = [await organisationWith(1), await organisationWith(2)];
    expect(await list(theirs)).toHaveLength(2);
    expect(await database.read(ours, (tx) => listEvents(tx, theirs, { limit: 10 }))).toEqual([]);
    expect(await database.read(ours, (tx) => readHead(tx, theirs))).toBeUndefined();
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
      await listEvents(tx, orgId, { limit: 9 }),
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
    expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 40 }, (_, n) => 40 - n));
    expect(await check(orgId)).toBeUndefined();
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

describe("verification", () => {
  test("passes whatever the events hold", async () => {
    const text = fc
      .string({ unit: "binary" })
      .filter((value) => !value.includes("\0") && value.isWellFormed());
    const events = fc.array(
      fc.record({ action: text, target: text, details: fc.dictionary(text, fc.jsonValue()) }),
      {
        minLength: 1,
        maxLength: 3,
      },
    );
    await fc.assert(
      fc.asyncProperty(events, async (recorded) => {
        const orgId = `org_${count++}`;
        await database.change(orgId, async (tx) => {
          for (const event of recorded) await append(tx, "service", event);
        });
        expect(await check(orgId)).toBeUndefined();
        const [newest] = await list(orgId);
        expect(newest?.details).toBe(JSON.stringify(recorded.at(-1)?.details));
      }),
      { numRuns: 25 },
    );
  });

  const edits: [string, string][] = [
    ["the action", "action = 'step.9'"],
    ["the target", "target = 'other'"],
    ["the time, by a millisecond", "at = at + interval '1 millisecond'"],
    ["the key", "api_key_id = 'key_2'"],
    ["an absent user into an empty one", "user_id = ''"],
    ["the request", "request_id = 'req_9'"],
    ["a space in the details", `details = '{"n": 2}'`],
    ["the hash", "hash = sha256('x')"],
    ["the previous hash", "previous_hash = sha256('x')"],
    ["a character moved from one field into the next", "action = 'step.', target = '2' || target"],
  ];
  test.each(edits)("detects an edit: %s", async (_, edit) => {
    const orgId = await organisationWith(3);
    await tamper(`update audit_events set ${edit} where org_id = '${orgId}' and seq = 2`);
    expect(await check(orgId)).toMatchObject({ seq: 2 });
  });

  test("detects a deleted event", async () => {
    const orgId = await organisationWith(3);
    await tamper(`delete from audit_events where org_id = '${orgId}' and seq = 2`);
    expect(await check(orgId)).toEqual({ seq: 2, problem: "event 2 is missing, or out of order" });
  });

  test("detects two events that changed places", async () => {
    const orgId = await organisationWith(3);
    await tamper(
      `update audit_events set seq = -2 where org_id = '${orgId}' and seq = 2`,
      `update audit_events set seq = 2 where org_id = '${orgId}' and seq = 3`,
      `update audit_events set seq = 3 where org_id = '${orgId}' and seq = -2`,
    );
    expect(await check(orgId)).toMatchObject({ seq: 2 });
  });

  test("detects an event that was moved to another organisation", async () => {
    const [ours, theirs] = [await organisationWith(1), await organisationWith(0)];
    await tamper(
      `update audit_events set org_id = '${theirs}' where org_id = '${ours}'`,
      `update audit_heads set org_id = '${theirs}' where org_id = '${ours}'`,
    );
    expect(await check(theirs)).toMatchObject({ seq: 1 });
  });

  test("detects a cut tail by the stored head", async () => {
    const orgId = await organisationWith(3);
    await tamper(`delete from audit_events where org_id = '${orgId}' and seq = 3`);
    expect(await check(orgId)).toEqual({ seq: 3, problem: "the events up to a known head are missing" });
  });

  test("detects a cut tail whose stored head was cut too, by a head that was exported before", async () => {
    const orgId = await organisationWith(3);
    const exported = await exportHead(orgId);
    await tamper(
      `delete from audit_events where org_id = '${orgId}' and seq = 3`,
      `update audit_heads set (seq, hash) = (select seq, hash from audit_events
         where org_id = '${orgId}' and seq = 2) where org_id = '${orgId}'`,
    );
    expect(await check(orgId)).toBeUndefined();
    expect(await check(orgId, exported)).toMatchObject({ seq: 3 });
  });

  test("detects a tail that was written anew, by a head that was exported before", async () => {
    const orgId = await organisationWith(2);
    const exported = await exportHead(orgId);
    await tamper(
      `delete from audit_events where org_id = '${orgId}'`,
      `update audit_heads set seq = 0, hash = decode(repeat('00', 32), 'hex') where org_id = '${orgId}'`,
    );
    await step(orgId, 7);
    await step(orgId, 8);
    expect(await check(orgId)).toBeUndefined();
    expect(await check(orgId, exported)).toEqual({ seq: 2, problem: "it differs from a known head" });
  });

  test("detects two histories that were spliced, each whole in itself", async () => {
    const orgId = await organisationWith(3);
    const read = () => database.read(orgId, (tx) => readChain(tx, orgId, 0, 10));
    const history = await read();
    await tamper(
      `delete from audit_events where org_id = '${orgId}'`,
      `update audit_heads set seq = 0, hash = decode(repeat('00', 32), 'hex') where org_id = '${orgId}'`,
    );
    for (const n of [7, 8, 9]) await step(orgId, n);
    const other = await read();
    expect(verify(orgId, [...history.slice(0, 1), ...other.slice(1)], [])).toEqual({
      seq: 2,
      problem: "it does not follow the event before",
    });
  });

  test("passes for events that came after an exported head", async () => {
    const orgId = await organisationWith(2);
    const exported = await exportHead(orgId);
    await step(orgId, 3);
    expect(await check(orgId, exported)).toBeUndefined();
  });
});
