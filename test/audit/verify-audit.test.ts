import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type RestReply, type Tenant, type TestService } from "../support/service.ts";
import { run } from "../cli/patchbay.ts";
import { rewriteFrom, tamper } from "./support.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** An organisation whose record has five events: the two of its founding, and three users. */
async function organisation(): Promise<Tenant> {
  const tenant = await service.newOrganization("acme");
  for (const n of [3, 4, 5]) await tenant.client.directory.upsertUser({ email: `u${n}@acme.example` });
  return tenant;
}

interface Kept {
  readonly seq: string;
  readonly hash: string;
}

const query = (name: "known" | "after", { seq, hash }: Kept) => `${name}.seq=${seq}&${name}.hash=${hash}`;

async function restVerify(tenant: Tenant, asked = ""): Promise<RestReply> {
  return await tenant.rest("GET", `/api/audit/verify?${asked}`);
}

async function keepHead(tenant: Tenant): Promise<Kept> {
  return (await restVerify(tenant)).body.data.head as Kept;
}

/** What was found of each record, for the last test to compare with the command line, which takes a second to start. */
const found: { tenant: Tenant; known: Kept | undefined; fault: string | undefined }[] = [];

/** What REST and gRPC say of the record: nothing, or the number of the first fault. */
async function faults(tenant: Tenant, known?: Kept) {
  const rest = await restVerify(tenant, known && query("known", known));
  const fault = rest.body.data.fault?.seq as string | undefined;
  expect([rest.status, rest.body.data.valid]).toStrictEqual([200, fault === undefined]);
  const message = known && { seq: BigInt(known.seq), hash: known.hash };
  const grpc = await tenant.client.audit.verifyAudit(message ? { known: message } : {});
  expect(grpc.valid).toBe(grpc.fault === undefined);
  found.push({ tenant, known, fault });
  return [fault, grpc.fault?.seq.toString()];
}

const none = [undefined, undefined];
const at = (seq: number) => [String(seq), String(seq)];

test("a whole record is valid, and says how many events it has and where it ends", async () => {
  const tenant = await organisation();
  const { body } = await restVerify(tenant);
  const head = { seq: "5", hash: expect.stringMatching(/^[0-9a-f]{64}$/) };
  expect(body).toStrictEqual({ data: { valid: true, verifiedEvents: "5", verifiedAnchors: "0", head } });
  const { body: list } = await tenant.rest("GET", "/api/audit/events?pageSize=1");
  expect(list.data.events[0].hash).toBe(body.data.head.hash);
  expect(await faults(tenant, body.data.head)).toStrictEqual(none);
});

describe("what the owner of the database does to a record is found", () => {
  const where = (orgId: string, seq: number) => `where org_id = '${orgId}' and seq = ${seq}`;
  const shows: [what: string, seq: number, statements: (orgId: string) => string[]][] = [
    ["edited details", 4, (orgId) => [`update audit_events set details = '{}' ${where(orgId, 4)}`]],
    ["details that are no object", 4, (orgId) => [`update audit_events set details = '[]' ${where(orgId, 4)}`]],
    ["a deleted event", 3, (orgId) => [`delete from audit_events ${where(orgId, 3)}`]],
    ["a cut tail", 5, (orgId) => [`delete from audit_events ${where(orgId, 5)}`]],
    ["two events that changed places", 3, (orgId) => [
      `update audit_events set seq = -3 ${where(orgId, 3)}`,
      `update audit_events set seq = 3 ${where(orgId, 4)}`,
      `update audit_events set seq = 4 ${where(orgId, -3)}`,
    ]],
    ["a forged event before all others", 0, (orgId) => [
      `insert into audit_events select org_id, 0, at, action, 'forged', api_key_id, user_id, request_id, details,
         previous_hash, hash from audit_events ${where(orgId, 1)}`,
    ]],
    ["a deleted record", 1, (orgId) => [
      `delete from audit_events where org_id = '${orgId}'`,
      `delete from audit_heads where org_id = '${orgId}'`,
    ]],
  ]; // prettier-ignore
  test.each(shows)("%s", async (_, seq, statements) => {
    const [tampered, untouched] = [await organisation(), await organisation()];
    await tamper(service.postgres, ...statements(tampered.orgId));
    expect(await faults(tampered)).toStrictEqual(at(seq));
    expect(await faults(untouched)).toStrictEqual(none);
  });

  test("the records of two organisations, swapped", async () => {
    const [one, other] = [await organisation(), await organisation()];
    const untouched = await organisation();
    const swap = (table: string) =>
      `update ${table} set org_id = 'swapped' where org_id = '${one.orgId}';
       update ${table} set org_id = '${one.orgId}' where org_id = '${other.orgId}';
       update ${table} set org_id = '${other.orgId}' where org_id = 'swapped'`;
    await tamper(service.postgres, swap("audit_events"), swap("audit_heads"));
    expect([await faults(one), await faults(other), await faults(untouched)]).toStrictEqual([
      at(1),
      at(1),
      none,
    ]);
  });

  const onlyByHead: [what: string, seq: number, statements: (orgId: string) => string[]][] = [
    ["a record that was written anew with hashes that fit", 5, (orgId) => rewriteFrom(orgId, 3, "target = 'forged'")],
    ["a cut tail with a head that fits", 5, (orgId) => [
      `delete from audit_events ${where(orgId, 5)}`,
      `update audit_heads set (seq, hash) = (select seq, hash from audit_events ${where(orgId, 4)})
         where org_id = '${orgId}'`,
    ]],
  ]; // prettier-ignore
  test.each(onlyByHead)("%s, by a kept head only", async (_, seq, statements) => {
    const tenant = await organisation();
    const known = await keepHead(tenant);
    await tamper(service.postgres, ...statements(tenant.orgId));
    expect(await faults(tenant)).toStrictEqual(none);
    expect(await faults(tenant, known)).toStrictEqual(at(seq));
    const afterwards = await restVerify(tenant, query("after", known));
    expect(afterwards.body.data).toMatchObject({ valid: false, fault: { seq: String(seq) } });
  });

  test("and the list still shows all other events, and of a spoilt one what can be shown", async () => {
    const tenant = await organisation();
    const spoilt = [
      `details = '"text"'`,
      `details = '{"n":1e999}'`,
      `details = '{"half":"\\ud800"}'`,
      `details = ('{"a":' || repeat('[', 500) || repeat(']', 500) || '}')::json`,
      "at = 'infinity'",
      "at = '0044-03-15 BC'",
    ];
    for (const change of spoilt) {
      await tamper(service.postgres, `update audit_events set ${change} ${where(tenant.orgId, 4)}`);
      const rest = await tenant.rest("GET", "/api/audit/events");
      const grpc = await tenant.client.audit.listAuditEvents({});
      expect([change, rest.status, rest.body.data.events.length, grpc.events.length]).toStrictEqual([
        change,
        200,
        5,
        5,
      ]);
      expect((await restVerify(tenant)).body.data.valid).toBe(false);
    }
  });

  test("and the pages of the list go on past numbers that no event is recorded with", async () => {
    const tenant = await organisation();
    const moved = { 4: "9223372036854775807", 3: "-5", 2: "-9223372036854775808" };
    for (const [seq, to] of Object.entries(moved)) {
      await tamper(
        service.postgres,
        `update audit_events set seq = ${to} ${where(tenant.orgId, Number(seq))}`,
      );
    }
    const listed = [];
    for (let token: string | undefined = ""; token !== undefined;) {
      const page = await tenant.rest("GET", `/api/audit/events?pageSize=1&pageToken=${token}`);
      expect(page.status).toBe(200);
      listed.push(page.body.data.events[0].seq);
      token = page.body.data.nextPageToken as string | undefined;
    }
    expect(listed).toStrictEqual([moved[4], "5", "1", moved[3], moved[2]]);
  });
});

test.each(["9223372036854775808", "-9223372036854775809", "1.5", "x"])(
  "a page token that the list did not issue is refused, such as one of %s",
  async (seq) => {
    const token = Buffer.from(`p1:${seq}`).toString("base64url");
    const { status, body } = await service.org.rest("GET", `/api/audit/events?pageToken=${token}`);
    expect([status, body.error]).toStrictEqual([400, expect.stringMatching(/^pageToken: /)]);
  },
);

describe("a verification from a trusted head", () => {
  test("looks only at what came after it", async () => {
    const tenant = await organisation();
    const trusted = await keepHead(tenant);
    await tenant.client.directory.upsertUser({ email: "u6@acme.example" });
    const { body } = await restVerify(tenant, query("after", trusted));
    expect(body.data).toMatchObject({ valid: true, verifiedEvents: "1", head: { seq: "6" } });
    const again = await restVerify(tenant, query("after", body.data.head));
    expect(again.body.data).toMatchObject({ valid: true, verifiedEvents: "0", head: body.data.head });
  });

  test.each([
    ["a number without a hash", "known.seq=1", /^known\.hash: /],
    ["a hash that is none", "after.seq=1&after.hash=abc", /^after\.hash: /],
    ["a number below 0", `known.seq=-1&known.hash=${"0".repeat(64)}`, /^known\.seq: /],
    [
      "a number that is too large",
      `known.seq=9223372036854775808&known.hash=${"0".repeat(64)}`,
      /known\.seq|seq/,
    ],
  ])("is refused for %s", async (_, asked, problem) => {
    const { status, body } = await restVerify(service.org, asked);
    expect([status, body]).toStrictEqual([400, { error: expect.stringMatching(problem) }]);
  });

  test("of the highest number there is finds that the record does not go on to it", async () => {
    const tenant = await organisation();
    const known = { seq: "9223372036854775807", hash: "f".repeat(64) };
    const { body } = await restVerify(tenant, query("known", known));
    expect(body.data).toMatchObject({ valid: false, verifiedEvents: "5", fault: { seq: "6" } });
  });
});

describe("a verification whose time is up", () => {
  /** Blocks the reading of a page with the event, until the function it answers is called. */
  async function gateAt(orgId: string, seq: number): Promise<() => Promise<void>> {
    // A lock, since a page is read as of one moment: it would never see that a row says so.
    await service.postgres.asOwner("select pg_advisory_lock(1)");
    await service.postgres.asOwner(
      `create function pass_gate(org text, seq bigint) returns boolean language plpgsql security definer as $$
       begin
         if org = '${orgId}' and seq = ${seq} and current_query() like '%bytes_before%' then
           while not pg_try_advisory_xact_lock_shared(1) loop perform pg_sleep(0.01); end loop;
         end if;
         return true;
       end $$`,
    );
    await service.postgres.asOwner(
      "create policy gate on audit_events as restrictive to patchbay_app using (pass_gate(org_id, seq))",
    );
    return async () => void (await service.postgres.asOwner("select pg_advisory_unlock(1)"));
  }

  async function removeGate() {
    await service.postgres.asOwner("drop policy gate on audit_events");
    await service.postgres.asOwner("drop function pass_gate");
  }

  test.each([
    ["of the method, half a minute", undefined, 31_000],
    ["of the caller, short of its deadline", 20_000, 17_000],
  ])("%s, says how far it got, and goes on from there", async (_, timeoutMs, passing) => {
    const tenant = await organisation();
    await service.postgres.asOwner(`select set_config('app.org_id', '${tenant.orgId}', false)`);
    await service.postgres.asOwner(
      "select audit_append('a', 't', null, null, null, '{}') from generate_series(6, 250)",
    );
    const open = await gateAt(tenant.orgId, 50);
    try {
      const verifying = tenant.client.audit.verifyAudit({}, timeoutMs === undefined ? {} : { timeoutMs });
      const isWaiting = async () =>
        await service.postgres.asOwner("select from pg_stat_activity where wait_event = 'PgSleep'");
      await expect.poll(isWaiting, { timeout: 60_000 }).toHaveLength(1);
      service.clock.advance(passing);
      await open();
      const { valid, verifiedEvents, head, fault, next } = await verifying;
      expect([valid, verifiedEvents, head, fault, next?.seq]).toStrictEqual([
        true,
        100n,
        undefined,
        undefined,
        100n,
      ]);
      const rest = await tenant.client.audit.verifyAudit({ after: next! });
      expect(rest).toMatchObject({ valid: true, verifiedEvents: 150n, head: { seq: 250n } });
    } finally {
      await removeGate();
    }
  });
});

test("one organisation neither sees nor names another's record", async () => {
  const [one, other] = [await organisation(), await organisation()];
  const theirs = await keepHead(other);
  // Their head is one that this record does not have: nothing tells that it is somebody's.
  const { body } = await restVerify(one, query("known", theirs));
  const made = await restVerify(one, query("known", { seq: theirs.seq, hash: "f".repeat(64) }));
  expect(body.data.fault).toStrictEqual({ seq: "5", problem: "it differs from a known head" });
  expect(body).toStrictEqual(made.body);
});

test("many verifications at once all end, and leave room for other calls", async () => {
  const tenant = await organisation();
  const verifying = Array.from({ length: 100 }, () => restVerify(tenant));
  const other = await service.org.client.apiKeys.whoAmI({});
  expect(other.scopes).toContain("audit:view");
  const replies = await Promise.all(verifying);
  expect(new Set(replies.map(({ status, body }) => `${status} ${body.data.verifiedEvents}`))).toStrictEqual(
    new Set(["200 5"]),
  );
});

test("the command line finds the same", async () => {
  const cli = (...args: string[]) =>
    run(["audit", "verify", ...args], { env: { DATABASE_URL: service.postgres.url } });
  const all = await cli();
  for (const { tenant, known, fault } of found) {
    const { code, stdout } =
      known === undefined ? all : await cli("--org", tenant.orgId, "--head", `${known.seq}:${known.hash}`);
    const line =
      fault === undefined ? `ok {5}${tenant.orgId} {2}` : `FAULT {2}${tenant.orgId} {2}event ${fault}: it `;
    expect(stdout).toMatch(new RegExp(`^${line}`, "m"));
    expect(code).toBe(stdout.includes("FAULT") ? 1 : 0);
  }
});
