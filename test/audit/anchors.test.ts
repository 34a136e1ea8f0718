import { createPublicKey, verify } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../cli/patchbay.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startService, type Tenant, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { rewriteFrom, tamper } from "./support.ts";

const minutes = (count: number) => count * 60_000;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let file: string;
let service: TestService;
let replica: TestService;
beforeAll(async () => {
  folder = await temporaryFolder();
  file = join(folder.path, "anchors");
  const rootKey = Buffer.alloc(32, 7).toString("base64");
  service = await startService({ rootKey, auditAnchors: file });
  replica = await startService({ rootKey, auditAnchors: file, postgres: service.postgres });
});
afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const upkeep = (of = service) => of.app.loops.audit.runOnce();

/** An organisation whose record has five events, and an anchor of the last one. */
async function anchored(): Promise<Tenant> {
  const tenant = await service.newOrganization("acme");
  for (const n of [3, 4, 5]) await tenant.client.directory.upsertUser({ email: `u${n}@acme.example` });
  await upkeep();
  return tenant;
}

/** As if the minute were over for which a replica has what it took. */
async function forgetClaims(postgres: TestDatabase): Promise<void> {
  await postgres.asOwner("update audit_anchors set claimed_until = clock_timestamp() - interval '1 second'");
}

interface Line {
  readonly orgId: string;
  readonly seq: number;
  readonly hash: string;
  readonly at: string;
  readonly keyId: string;
  readonly signature: string;
}

async function published(orgId: string): Promise<Line[]> {
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Line).filter((line) => line.orgId === orgId);
}

async function fault(tenant: Tenant) {
  const found = await tenant.client.audit.verifyAudit({});
  expect(found.valid).toBe(found.fault === undefined);
  return found.fault && [Number(found.fault.seq), found.fault.problem];
}

test("an anchor is the head of a record, signed with the key that the service shows, in a form that openssl verifies", async () => {
  const tenant = await anchored();
  const { head, verifiedAnchors } = await tenant.client.audit.verifyAudit({});
  expect(verifiedAnchors).toBe(1n);
  const { keyId, publicKey } = await tenant.client.audit.getAuditKey({});
  const [line, ...others] = await published(tenant.orgId);
  expect(others).toStrictEqual([]);
  expect(line).toMatchObject({ seq: 5, hash: head!.hash, keyId });
  const { seq, hash, at, signature } = line!;
  const text = `patchbay audit anchor v1\n${tenant.orgId}\n${seq}\n${hash}\n${at}\n`;
  const key = createPublicKey(publicKey);
  expect(verify(null, Buffer.from(text), key, Buffer.from(signature, "base64"))).toBe(true);
});

test("there is one each five minutes while there is something new, whatever the clock does, and none otherwise", async () => {
  const { orgId, client } = await anchored();
  const seqs = async () => (await published(orgId)).map(({ seq }) => seq);
  service.clock.advance(minutes(6));
  await upkeep();
  expect(await seqs()).toStrictEqual([5]);
  const change = async (n: number) => client.directory.upsertUser({ email: `u${n}@acme.example` });
  await change(6);
  await upkeep();
  await change(7);
  service.clock.advance(minutes(4));
  await upkeep();
  expect(await seqs()).toStrictEqual([5, 6]);
  service.clock.advance(minutes(1));
  await upkeep();
  expect(await seqs()).toStrictEqual([5, 6, 7]);
  await change(8);
  service.clock.advance(-minutes(60 * 24));
  await upkeep();
  expect(await seqs()).toStrictEqual([5, 6, 7, 8]);
  service.clock.advance(minutes(60 * 24));
});

test("replicas that look at the same time, by clocks that differ, keep and publish one", async () => {
  const tenant = await service.newOrganization("acme");
  service.clock.advance(minutes(1));
  await Promise.all([upkeep(service), upkeep(replica)]);
  await Promise.all([upkeep(service), upkeep(replica)]);
  expect((await published(tenant.orgId)).map(({ seq }) => seq)).toStrictEqual([2]);
  const keys = await Promise.all(
    [service, replica].map((one) => one.as(tenant.secret).client.audit.getAuditKey({})),
  );
  expect(keys[0]!.publicKey).toBe(keys[1]!.publicKey);
});

describe("against its anchors, a record shows", () => {
  const anchor = (orgId: string) => `where org_id = '${orgId}' and seq = 5`;
  test.each<[string, (orgId: string, other: string) => string[], number, string]>([
    [
      "that it was written anew with hashes that fit",
      (orgId) => rewriteFrom(orgId, 3, "target = 'forged'"),
      5,
      "it differs from its anchor",
    ],
    [
      "that its tail was cut and its head made to fit",
      (orgId) => [
        `delete from audit_events ${anchor(orgId)}`,
        `update audit_heads h set seq = 4, hash = e.hash from audit_events e
         where h.org_id = '${orgId}' and e.org_id = h.org_id and e.seq = 4`,
      ],
      5,
      "it is missing: the record went on to event 5 when it was anchored",
    ],
    [
      "that an anchor was written by the owner of the database",
      (orgId) => [
        ...rewriteFrom(orgId, 3, "target = 'forged'"),
        `update audit_anchors a set hash = e.hash from audit_events e
         where a.org_id = '${orgId}' and e.org_id = a.org_id and a.seq = e.seq`,
      ],
      5,
      "its anchor is not signed by this service",
    ],
    [
      "that an anchor is another organisation's",
      (orgId, other) => [
        `update audit_anchors a set signature = o.signature, at = o.at from audit_anchors o
         where a.org_id = '${orgId}' and o.org_id = '${other}' and a.seq = o.seq`,
      ],
      5,
      "its anchor is not signed by this service",
    ],
    [
      "that its beginning was removed without a signature",
      (orgId) => [
        `insert into audit_starts select org_id, seq, hash, at, key_id, signature from audit_anchors ${anchor(orgId)}`,
        `update audit_starts s set seq = 2, hash = e.hash from audit_events e
         where s.org_id = '${orgId}' and e.org_id = s.org_id and e.seq = 2`,
        `delete from audit_events where org_id = '${orgId}' and seq <= 2`,
      ],
      3,
      "what came before it was removed without this service's signature",
    ],
    [
      "that an anchor was made to stand for the removal of what came before",
      (orgId) => [
        `insert into audit_starts select org_id, seq, hash, at, key_id, signature from audit_anchors ${anchor(orgId)}`,
        `delete from audit_events where org_id = '${orgId}'`,
      ],
      6,
      "what came before it was removed without this service's signature",
    ],
  ])("%s", async (_, statements, seq, problem) => {
    const [tampered, other] = [await anchored(), await anchored()];
    await tamper(service.postgres, ...statements(tampered.orgId, other.orgId));
    expect(await fault(tampered)).toStrictEqual([seq, problem]);
    expect(await fault(other)).toBeUndefined();
  });
});

test("a record that is not as it was recorded gets no further anchor, the log says so, and others get theirs", async () => {
  const [tampered, other] = [await anchored(), await anchored()];
  const logged = service.watchLog();
  for (const { client } of [tampered, other]) await client.directory.upsertUser({ email: "u6@acme.example" });
  const where = `where org_id = '${tampered.orgId}' and seq = 6`;
  await tamper(service.postgres, `update audit_events set target = 'x' ${where}`);
  service.clock.advance(minutes(5));
  await upkeep();
  const last = async ({ orgId }: Tenant) => (await published(orgId)).at(-1)?.seq;
  expect([await last(tampered), await last(other)]).toStrictEqual([5, 6]);
  const lines = logged()
    .split("\n")
    .filter((line) => line.includes("is not anchored"));
  expect(lines.map((line) => JSON.parse(line) as object)).toContainEqual(
    expect.objectContaining({
      orgId: tampered.orgId,
      seq: "6",
      problem: "it was changed after it was recorded",
    }),
  );
});

test("a record whose tail was cut is no record without something new: the log says what is missing", async () => {
  const tampered = await anchored();
  const logged = service.watchLog();
  await tamper(
    service.postgres,
    `delete from audit_events where org_id = '${tampered.orgId}' and seq > 3`,
    `update audit_heads h set seq = 3, hash = e.hash from audit_events e
     where h.org_id = '${tampered.orgId}' and e.org_id = h.org_id and e.seq = 3`,
  );
  service.clock.advance(minutes(5));
  await upkeep();
  const lines = logged().trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line) as object)).toContainEqual(
    expect.objectContaining({
      ...{ orgId: tampered.orgId, seq: "4" },
      problem: expect.stringMatching(/^it is missing: the record went on to event 5 /),
    }),
  );
});

test("a line that was cut by the end of a process spoils no line behind it", async () => {
  const [before, cut] = [await readFile(file, "utf8"), '{"type":"anchor","orgId":"org_'];
  await writeFile(file, before + cut);
  const tenant = await service.newOrganization("acme");
  await upkeep();
  const lines = (await readFile(file, "utf8")).slice(before.length).trimEnd().split("\n");
  expect(lines[0]).toBe(cut);
  expect(lines.slice(1).map((line) => (JSON.parse(line) as Line).orgId)).toContain(tenant.orgId);
  await writeFile(file, before);
});

test("a file that cannot be written holds up nothing, and gets all that it missed", async () => {
  const kept = await readFile(file, "utf8");
  await rm(file);
  const nowhere = join(folder.path, "anchors");
  await writeFile(join(folder.path, "blocker"), "");
  await using away = await startService({
    rootKey: Buffer.alloc(32, 7).toString("base64"),
    postgres: service.postgres,
    auditAnchors: join(folder.path, "blocker", "anchors"),
  });
  const tenant = await service.newOrganization("acme");
  await expect(upkeep(away)).rejects.toThrow(
    /PATCHBAY_AUDIT_ANCHORS: \S+blocker\/anchors cannot be written \(ENOTDIR\)/,
  );
  expect((await tenant.client.audit.verifyAudit({})).verifiedAnchors).toBe(1n);
  await writeFile(nowhere, kept);
  await forgetClaims(service.postgres);
  await upkeep();
  expect((await published(tenant.orgId)).map(({ seq }) => seq)).toStrictEqual([2]);
});

describe("over HTTP", () => {
  let upstream: Upstream;
  beforeAll(async () => {
    upstream = await startUpstream();
  });
  afterAll(() => upstream[Symbol.asyncDispose]());

  test("anchors are posted as lines, and again until they are taken", async () => {
    await using postgres = await createTestDatabase();
    await using one = await startService({ postgres, auditAnchors: `${upstream.url}/kept` });
    upstream.answer({ status: 503 });
    await expect(upkeep(one)).rejects.toThrow("the service there answered 503");
    upstream.answer({ status: 204, body: "" });
    await upkeep(one);
    expect(upstream.asked).toHaveLength(1);
    await forgetClaims(postgres);
    await upkeep(one);
    const [first, second] = upstream.asked;
    expect(second).toMatchObject({ method: "POST", url: "/kept", body: first!.body });
    expect(JSON.parse(second!.body)).toMatchObject({ type: "anchor", orgId: one.org.orgId, seq: 2 });
    await upkeep(one);
    expect(upstream.asked).toHaveLength(2);
  });
});
