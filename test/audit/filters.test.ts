import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { boundsOf, selectBounds, selectEvents, type EventFilter } from "#src/audit/store.ts";
import { createDatabase, type Database, type Tx } from "#src/db/database.ts";
import { sql, type SQLWrapper } from "#src/db/drizzle.cjs";
import { startService, type TestService } from "../support/service.ts";
import { tamper } from "./support.ts";

let service: TestService;
let database: Database;
beforeAll(async () => {
  service = await startService();
  database = createDatabase({ url: service.postgres.url, log: pino({ level: "silent" }) });
});
afterAll(async () => {
  await database.close();
  await service[Symbol.asyncDispose]();
});

const seqs = (events: readonly { readonly seq: bigint }[]) => events.map(({ seq }) => Number(seq));

test("the record is narrowed to a key, to a user, and to what both have in common with an action", async () => {
  const tenant = await service.newOrganization("acme");
  const { apiKeys, audit, directory } = tenant.client;
  const { user } = await directory.upsertUser({ email: "ada@acme.example" });
  const bound = await apiKeys.createApiKey({
    ...{ name: "ada's bot", actAsUserId: user!.id, scopes: ["directory:write"] },
  });
  await service.as(bound.secret).client.directory.upsertUser({ email: "bob@acme.example" });

  const all = seqs((await audit.listAuditEvents({})).events);
  const ofAdmin = seqs((await audit.listAuditEvents({ apiKeyId: tenant.apiKeyId })).events);
  const ofBot = seqs((await audit.listAuditEvents({ apiKeyId: bound.apiKey!.id })).events);
  expect(ofBot).toStrictEqual([all[0]]);
  expect(ofAdmin).toStrictEqual([all[1], all[2]]);
  expect(seqs((await audit.listAuditEvents({ userId: user!.id })).events)).toStrictEqual(ofBot);
  const created = { apiKeyId: tenant.apiKeyId, action: "api_key.create" };
  expect(seqs((await audit.listAuditEvents(created)).events)).toStrictEqual([ofAdmin[0]]);
  expect(seqs((await audit.listAuditEvents({ ...created, userId: user!.id })).events)).toStrictEqual([]);
});

test("another organisation's key, user or time brings nothing to light", async () => {
  const [ours, theirs] = [await service.newOrganization("acme"), await service.newOrganization("globex")];
  await theirs.client.directory.upsertUser({ email: "eve@globex.example" });
  const asked = await ours.client.audit.listAuditEvents({ apiKeyId: theirs.apiKeyId });
  expect(asked.events).toStrictEqual([]);
  const since = timestampFromDate(new Date(0));
  expect((await ours.client.audit.listAuditEvents({ since })).events).toHaveLength(2);
});

test("a time begins with `since`, ends before `until`, and finds events that a clock which was set back left out of order", async () => {
  const { orgId, client } = await service.newOrganization("acme");
  for (let n = 3; n <= 8; n++) await client.directory.upsertUser({ email: `u${n}@acme.example` });
  const at = (seq: number, time: string) =>
    `update audit_events set at = '2026-03-01T${time}Z' where org_id = '${orgId}' and seq = ${seq}`;
  const times = ["08:00", "09:00", "10:00", "11:00", "09:30", "09:40", "12:00", "13:00"];
  await tamper(service.postgres, ...times.map((time, i) => at(i + 1, `${time}:00`)));

  const list = async (since?: string, until?: string, more: object = {}) => {
    const time = (text: string) => timestampFromDate(new Date(`2026-03-01T${text}:00Z`));
    return client.audit.listAuditEvents({
      ...(since !== undefined && { since: time(since) }),
      ...(until !== undefined && { until: time(until) }),
      ...more,
    });
  };
  expect(seqs((await list("09:00", "10:00")).events)).toStrictEqual([6, 5, 2]);
  expect(seqs((await list("11:00")).events)).toStrictEqual([8, 7, 4]);
  expect(seqs((await list(undefined, "09:35")).events)).toStrictEqual([5, 2, 1]);
  expect(seqs((await list("14:00", "15:00")).events)).toStrictEqual([]);

  const first = await list("09:00", "12:00", { pageSize: 3 });
  const second = await list("09:00", "12:00", { pageSize: 3, pageToken: first.nextPageToken! });
  expect([...seqs(first.events), ...seqs(second.events)]).toStrictEqual([6, 5, 4, 3, 2]);
});

test("over REST, a time is given as RFC 3339", async () => {
  const asked = await service.org.rest("GET", "/api/audit/events?until=2026-01-01T00:00:00%2B02:00");
  expect([asked.status, asked.body.data.events]).toStrictEqual([200, []]);
});

describe("of a large record, an index finds", () => {
  const orgId = "org_large";
  beforeAll(async () => {
    await tamper(
      service.postgres,
      `insert into audit_events
       select '${orgId}', n, '2026-01-01'::timestamptz + n * interval '1 minute', 'a.' || n % 100, 't' || n % 1000,
         'key_' || n % 1000, 'usr_' || n % 1000, null, '{}', '', ''
       from generate_series(1, 20000) n`,
    );
    await service.postgres.asOwner("vacuum analyze audit_events");
  });

  /** What the database does for a statement of the service's role, and how many rows it looks at and lays aside. */
  async function planOf(statement: (tx: Tx) => SQLWrapper): Promise<{ indexes: string[]; removed: number }> {
    const rows = await database.read(orgId, (tx) =>
      tx.execute<{ "QUERY PLAN": string }>(sql`explain (analyze) select * from ${statement(tx)} q`),
    );
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    const all = (pattern: RegExp) => [...plan.matchAll(pattern)].map(([, found = ""]) => found);
    const removed = all(/Rows Removed by Filter: (\d+)/g).reduce((sum, count) => sum + Number(count), 0);
    return { indexes: all(/(?:using|Index Scan on) (audit_events_\w+)/g), removed };
  }

  test.each<[string, Partial<EventFilter>, string]>([
    ["what a key did", { apiKeyId: "key_7" }, "audit_events_org_id_api_key_id_seq_idx"],
    ["what a user answers for", { userId: "usr_7" }, "audit_events_org_id_user_id_seq_idx"],
    ["what happened to a target", { target: "t7" }, "audit_events_org_id_target_seq_idx"],
    ["an action", { action: "a.7" }, "audit_events_org_id_action_seq_idx"],
    ["the next page", { before: 700n }, "audit_events_org_id_seq_pk"],
  ])("%s", async (_, filter, index) => {
    const plan = await planOf((tx) => selectEvents(tx, orgId, { limit: 100, ...filter }, undefined));
    expect(plan).toStrictEqual({ indexes: [index], removed: 0 });
  });

  test("the ends of a time, and a page between them", async () => {
    const day = { since: new Date("2026-01-03T00:00:00Z"), until: new Date("2026-01-04T00:00:00Z") };
    const ends = await planOf((tx) => selectBounds(tx, orgId, day));
    expect(ends).toStrictEqual({ indexes: ["audit_events_org_id_at_seq_idx"], removed: 0 });
    const range = await database.read(orgId, (tx) => boundsOf(tx, orgId, day));
    expect(range).toStrictEqual({ first: 2880n, last: 4319n });
    const page = await planOf((tx) => selectEvents(tx, orgId, { limit: 100, ...day }, range));
    expect(page.removed).toBe(0);
    expect(page.indexes).toHaveLength(1);
  });
});
