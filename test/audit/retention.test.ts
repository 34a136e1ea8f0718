import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { append } from "#src/audit/append.ts";
import { expireUpTo } from "#src/audit/anchor-store.ts";
import { monthsAgo } from "#src/audit/retention.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { temporaryFolder } from "../cli/patchbay.ts";
import { startService, type Tenant, type TestService } from "../support/service.ts";
import { ageUpTo, tamper } from "./support.ts";

let service: TestService;
let replica: TestService;
let database: Database;
beforeAll(async () => {
  const rootKey = Buffer.alloc(32, 8).toString("base64");
  service = await startService({ rootKey, auditRetentionMonths: 2 });
  replica = await startService({ rootKey, auditRetentionMonths: 2, postgres: service.postgres });
  database = createDatabase({ url: service.postgres.url, log: pino({ level: "silent" }) });
});
afterAll(async () => {
  await database.close();
  await replica[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const upkeep = () => service.app.loops.audit.runOnce();

/** An organisation with eight events, the first five of which are 120 days old. */
async function aged(): Promise<Tenant> {
  const tenant = await service.newOrganization("acme");
  for (let n = 3; n <= 8; n++) await tenant.client.directory.upsertUser({ email: `u${n}@acme.example` });
  await tamper(service.postgres, ...ageUpTo(tenant.orgId, 5, 120));
  return tenant;
}

async function eventsOf(tenant: Tenant) {
  return (await tenant.client.audit.listAuditEvents({})).events.toReversed();
}

const seqsOf = async (tenant: Tenant) => (await eventsOf(tenant)).map(({ seq }) => Number(seq));

test("what is older than the months is removed, which is an event, and the record is whole from there on", async () => {
  const tenant = await aged();
  const start = (await eventsOf(tenant))[4]!.hash;
  await upkeep();
  const left = await eventsOf(tenant);
  expect(left.map(({ seq }) => Number(seq))).toStrictEqual([6, 7, 8, 9]);
  expect(left.at(-1)).toMatchObject({
    ...{ action: "audit.expire", target: tenant.orgId },
    details: { firstSeq: 1, lastSeq: 5, before: monthsAgo(service.clock.now(), 2).toISOString() },
  });
  expect(await tenant.client.audit.verifyAudit({})).toMatchObject({
    ...{ valid: true, verifiedEvents: 4n, verifiedAnchors: 1n },
    start: { seq: 5n, hash: start },
  });
  await upkeep();
  expect(await seqsOf(tenant)).toStrictEqual([6, 7, 8, 9]);
});

test("a head that was kept is compared from the last event that was removed on, and an older one is refused with what to do", async () => {
  const tenant = await aged();
  const hashes = (await eventsOf(tenant)).map(({ hash }) => hash);
  await upkeep();
  const verify = (seq: number, hash = hashes[seq - 1]!) =>
    tenant.rest("GET", `/api/audit/verify?known.seq=${seq}&known.hash=${hash}`);
  expect((await verify(5)).body.data.valid).toBe(true);
  expect((await verify(7)).body.data.valid).toBe(true);
  expect((await verify(5, hashes[3])).body.data.fault).toStrictEqual({
    ...{ seq: "5", problem: "it differs from a known head" },
  });
  const refused = await verify(4);
  expect([refused.status, refused.headers.get("x-error-reason")]).toStrictEqual([400, "AUDIT_EXPIRED"]);
  expect(refused.body.error).toBe(
    "events up to number 5 are no longer kept; give a head of event 5 or of a later one, or none to verify what is kept",
  );
});

test("a reader of the log `audit` that comes too late is told where to go on, and one from the earliest begins there", async () => {
  const tenant = await aged();
  await upkeep();
  const late = await tenant.rest("GET", "/api/events?log=audit&after=2");
  expect([late.status, late.headers.get("x-error-reason")]).toStrictEqual([400, "CURSOR_EXPIRED"]);
  expect(late.body.error).toMatch(/^events of audit before number 6 are no longer kept; go on from 6/);
  const earliest = await tenant.rest("GET", "/api/events?log=audit");
  expect(earliest.body.data.events.map(({ seq }: { seq: string }) => seq)).toStrictEqual([
    "6",
    "7",
    "8",
    "9",
  ]);
  const inTime = await tenant.rest("GET", "/api/events?log=audit&after=5");
  expect(inTime.body.data.events[0].seq).toBe("6");
});

test("replicas that remove at the same time leave one event of it", async () => {
  const tenant = await aged();
  await upkeepOfBoth();
  await upkeepOfBoth();
  expect(await seqsOf(tenant)).toStrictEqual([6, 7, 8, 9]);

  async function upkeepOfBoth() {
    await Promise.all([service, replica].map(({ app }) => app.loops.audit.runOnce()));
  }
});

test("nothing of a record that is not as it was recorded is removed", async () => {
  const tenant = await aged();
  await upkeepWithout(tenant);
  const logged = service.watchLog();
  const where = `where org_id = '${tenant.orgId}' and seq = 3`;
  await tamper(service.postgres, `update audit_events set target = 'x' ${where}`);
  await upkeep();
  expect(await seqsOf(tenant)).toStrictEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(logged()).toContain("so nothing of it is removed");

  /** Anchors the record before any of it is old. */
  async function upkeepWithout({ orgId }: Tenant) {
    await tamper(service.postgres, ...ageUpTo(orgId, 5, -120));
    await upkeep();
    await tamper(service.postgres, `delete from audit_anchors where org_id = '${orgId}' and seq < 8`);
    await tamper(service.postgres, ...ageUpTo(orgId, 5, 120));
  }
});

test("where anchors are published, what is removed is what was published, though the place is away since", async () => {
  const rootKey = Buffer.alloc(32, 9).toString("base64");
  await using away = await startService({
    ...{ rootKey, auditRetentionMonths: 2, auditAnchors: "/dev/null/anchors" },
  });
  const { orgId } = away.org;
  const upkeepOfAway = () => expect(away.app.loops.audit.runOnce()).rejects.toThrow("cannot be written");
  await tamper(away.postgres, ...ageUpTo(orgId, 1, 120));
  await upkeepOfAway();
  expect(await seqsOf(away.org)).toStrictEqual([1, 2]);

  await using folder = await temporaryFolder();
  await using publisher = await startService({
    ...{ rootKey, postgres: away.postgres, auditAnchors: join(folder.path, "anchors") },
  });
  await away.postgres.asOwner("update audit_anchors set claimed_until = null");
  await publisher.app.loops.audit.runOnce();
  await away.org.client.directory.upsertUser({ email: "u3@acme.example" });
  away.clock.advance(6 * 60_000);
  await upkeepOfAway();
  expect(await seqsOf(away.org)).toStrictEqual([2, 3, 4]);
});

describe("the database itself refuses to remove", () => {
  const attempt = (orgId: string, seq: bigint, hash: Buffer) =>
    database.change(orgId, async (tx) => {
      await expireUpTo(tx, { seq, hash, at: new Date(), keyId: "k", signature: Buffer.alloc(64) });
      await append(tx, "service", { action: "audit.expire", target: orgId, details: {} });
    });

  test.each<[string, number, (tenant: Tenant) => Promise<void>]>([
    ["events that are younger than 28 days", 6, () => upkeep()],
    ["events that are not anchored", 5, () => Promise.resolve()],
  ])("%s", async (_, seq, prepare) => {
    const tenant = await aged();
    await prepare(tenant);
    const { hash } = (await eventsOf(tenant)).find((event) => Number(event.seq) === seq)!;
    const refused = attempt(tenant.orgId, BigInt(seq), Buffer.from(hash, "hex"));
    await expect(refused).rejects.toMatchObject({ code: "PB003" });
  });
});

test("months are whole ones, in UTC", () => {
  const at = (now: string, months: number) => monthsAgo(new Date(now), months).toISOString();
  expect(at("2026-11-29T21:00:00Z", 1)).toBe("2026-10-01T00:00:00.000Z");
  expect(at("2026-03-31T23:59:59Z", 1)).toBe("2026-02-01T00:00:00.000Z");
  expect(at("2026-01-01T00:00:00Z", 13)).toBe("2024-12-01T00:00:00.000Z");
});
