import fc from "fast-check";
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { request, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { csvRecord } from "#src/audit/csv.ts";
import { csv, exportRecord } from "#src/audit/export.ts";
import { exportLines } from "#src/audit/export-lines.ts";
import { verifyExport } from "#src/audit/verify-export.ts";
import { chainStart } from "#src/audit/verify-chain.ts";
import { createDatabase } from "#src/db/database.ts";
import { startService, type Presenter, type Tenant, type TestService } from "../support/service.ts";
import { ageUpTo, tamper } from "./support.ts";

let service: TestService;
let publicKey: KeyObject;
beforeAll(async () => {
  service = await startService({ auditRetentionMonths: 2 });
  publicKey = createPublicKey((await service.org.client.audit.getAuditKey({})).publicKey);
});
afterAll(() => service[Symbol.asyncDispose]());

async function organisation(users = 3): Promise<Tenant> {
  const tenant = await service.newOrganization("acme");
  for (let n = 1; n <= users; n++) await tenant.client.directory.upsertUser({ email: `u${n}@acme.example` });
  return tenant;
}

async function fetched({ secret }: Presenter, query = "") {
  const answer = await fetch(`${service.url}/api/audit/export?${query}`, {
    headers: { authorization: `Bearer ${secret}` },
  });
  return { status: answer.status, headers: answer.headers, body: await answer.text() };
}

const linesOf = (body: string) => body.trimEnd().split("\n");

async function* each(lines: readonly string[]) {
  yield* lines;
}

const verified = (lines: readonly string[], key: KeyObject = publicKey) => verifyExport(each(lines), key);

/** What is wrong with the lines, in words. */
async function problemOf(lines: readonly string[], key: KeyObject = publicKey): Promise<string | undefined> {
  try {
    const { fault } = await verified(lines, key);
    return fault && `event ${fault.seq}: ${fault.problem}`;
  } catch (error) {
    return (error as Error).message;
  }
}

test("an export is the whole record with the event of itself, and is verified by the file and the public key alone", async () => {
  const tenant = await organisation();
  await service.app.loops.audit.runOnce();
  const { status, headers, body } = await fetched(tenant);
  expect([status, headers.get("content-type"), headers.get("content-disposition")]).toStrictEqual([
    ...[200, "application/x-ndjson", `attachment; filename="audit-${tenant.orgId}.ndjson"`],
  ]);
  const lines = linesOf(body).map((line) => JSON.parse(line));
  expect(lines.map(({ type }) => type)).toStrictEqual([
    ...["export", "event", "event", "event", "event", "event", "anchor", "event", "end"],
  ]);
  expect(lines.at(-2)).toMatchObject({
    action: "audit.export",
    target: tenant.orgId,
    apiKeyId: tenant.apiKeyId,
  });
  const { head } = await tenant.client.audit.verifyAudit({});
  expect(await verified(linesOf(body))).toMatchObject({
    ...{ orgId: tenant.orgId, events: 6n, at: service.clock.now(), signatures: 2, fault: undefined },
    head: { seq: 6n, hash: Buffer.from(head!.hash, "hex") },
  });
});

test("an export is of the caller's organisation only, takes `audit:view`, and a refused one leaves no event", async () => {
  const [ours, theirs] = [await organisation(), await organisation()];
  expect((await fetched(ours)).body).not.toContain(theirs.orgId);
  const { apiKeys } = ours.client;
  const narrow = await apiKeys.createApiKey({ name: "narrow", scopes: ["connections:view"] });
  const limited = await apiKeys.createApiKey({
    ...{ name: "limited", scopes: ["audit:view"] },
    connections: { rights: [{ connection: { case: "slug", value: "aml" } }] },
  });
  const refusals = [
    await fetched(service.as(narrow.secret)),
    await fetched(service.as(limited.secret)),
    await fetched(ours, "format=xml"),
    await fetched(ours, "pageSize=5"),
    await fetched(ours, "after=999"),
    await fetched(ours, "since=yesterday"),
    await fetched(ours, "since=2026-01-31T08:00:00"),
    await fetched(ours, "since=2026-02-30T08:00:00Z"),
    await fetched(ours, "since=0000-01-01T00:00:00Z"),
    await fetched(ours, "until=9999-12-31T23:59:59-14:00"),
    await ours.rest("POST", "/api/audit/export").then(({ status, headers }) => ({ status, headers })),
  ];
  expect(refusals.map(({ status, headers }) => [status, headers.get("x-error-reason")])).toStrictEqual([
    [403, "MISSING_SCOPE"],
    [403, "WHOLE_RECORD_ONLY"],
    ...Array<[number, string]>(9).fill([400, "INVALID_REQUEST"]),
  ]);
  const { events } = await ours.client.audit.listAuditEvents({ action: "audit.export" });
  expect(events).toHaveLength(1);
});

describe("a file shows by itself and the public key", () => {
  let lines: string[];
  let shorter: string[];
  beforeAll(async () => {
    const tenant = await organisation(6);
    await service.app.loops.audit.runOnce();
    shorter = linesOf((await fetched(tenant)).body);
    lines = linesOf((await fetched(tenant)).body);
  });

  const edits: [what: string, edit: (lines: string[]) => string[], problem: RegExp][] = [
    ["nothing, if it is as it was exported", (lines) => lines, /^$/],
    ["a line that was left out", (lines) => lines.toSpliced(3, 1), /^event 3: it is missing/],
    ["lines that changed places", (lines) => lines.with(3, lines[4]!).with(4, lines[3]!), /^event 3: /],
    ["that its end was cut", (lines) => lines.slice(0, -1), /the file was cut$/],
    ["that it was cut and another end put on", (lines) => [...lines.slice(0, -3), lines.at(-1)!], /not as many events/],
    [
      "that it was cut and an end without a signature put on",
      (lines) => {
        const { seq, hash } = JSON.parse(lines.at(-3)!);
        const { orgId } = JSON.parse(lines[0]!);
        const end = { type: "end", events: seq, orgId, seq, hash };
        return [...lines.slice(0, -2), JSON.stringify(end)];
      },
      /it has other members than an export writes/,
    ],
    [
      "that it was cut at an anchor, and the anchor made its end",
      (lines) => {
        const at = lines.findLastIndex((line) => line.startsWith('{"type":"anchor"'));
        const events = JSON.parse(lines[at]!).seq;
        return [...lines.slice(0, at), lines[at]!.replace('"anchor"', `"end","events":${events}`)];
      },
      /^event 8: the end is not signed by this key$/,
    ],
    [
      "that its beginning was cut, and the rest made a part",
      (lines) => {
        const { seq, hash } = JSON.parse(lines[3]!);
        const header = JSON.stringify({ ...JSON.parse(lines[0]!), from: { seq, hash } });
        const rest = lines.slice(4, -1);
        const events = rest.filter((line) => line.startsWith('{"type":"event"')).length;
        return [header, ...rest, lines.at(-1)!.replace(/"events":\d+/, `"events":${events}`)];
      },
      /the end is not signed by this key$/,
    ],
    ["a member of its header that no export writes", (lines) => lines.with(0, lines[0]!.replace(/}$/, ',"x":1}')), /^line 1: /],
    ["lines behind the end", (lines) => [...lines, lines[2]!], /behind the end/],
    ["a second header", (lines) => lines.toSpliced(2, 0, lines[0]!), /begins with one line/],
    ["that a name stands twice", (lines) => lines.with(2, lines[2]!.replace("{", '{"action":"x",')), /^line 3: /],
    ["a member that no export writes", (lines) => lines.with(2, lines[2]!.replace(/}$/, ',"x":1}')), /^line 3: /],
    [
      "that it is said to be another organisation's",
      (lines) => lines.map((line) => line.replaceAll(JSON.parse(lines[0]!).orgId, "org_other")),
      /^event 1: it was changed/,
    ],
    ["another key", (lines) => lines.map((line) => line.replace(/"signature":"../, '"signature":"AA')), /not signed by this key/],
  ]; // prettier-ignore
  test.each(edits)("%s", async (_, edit, problem) => {
    expect((await problemOf(edit([...lines]))) ?? "").toMatch(problem);
  });

  test("that it was signed with another key, which a file that names its own key would hide", async () => {
    const other = generateKeyPairSync("ed25519").publicKey;
    expect(await problemOf(lines, other)).toMatch(/is not signed by this key$/);
    expect((await verifyExport(each(lines), undefined)).fault).toBeUndefined();
  });

  test("a change of any character, and any event that is missing", async () => {
    const place = fc.nat({ max: 5_000 });
    const other = fc.constantFrom("0", "1", "a", "Z", " ", '"', ",", "\\", "}");
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: lines.length - 1 }), place, other, async (at, index, replacement) => {
        const line = lines[at]!;
        const position = index % line.length;
        const changed = line.slice(0, position) + replacement + line.slice(position + 1);
        if (changed !== line) expect(await problemOf(lines.with(at, changed))).toBeDefined();
        // Without an anchor, the signature of the end is there still.
        if (!line.startsWith('{"type":"anchor"'))
          expect(await problemOf(lines.toSpliced(at, 1))).toBeDefined();
      }),
      { numRuns: 100 },
    );
  });

  test("that it holds an event whose head was kept elsewhere, or that the record was another or longer then", async () => {
    const events = lines.map((line) => JSON.parse(line)).filter(({ type }) => type === "event");
    const known = async (seq: number, hash: string) => {
      const head = { seq: BigInt(seq), hash: Buffer.from(hash, "hex") };
      const { fault } = await verifyExport(each(lines), publicKey, head);
      return fault && `event ${fault.seq}: ${fault.problem}`;
    };
    const { length } = events;
    expect(await known(0, "00".repeat(32))).toBeUndefined();
    for (const { seq, hash } of events) expect(await known(seq, hash)).toBeUndefined();
    expect(await known(3, events[3].hash)).toBe("event 3: it differs from a known head");
    expect(await known(length + 1, events[3].hash)).toMatch(
      new RegExp(`^event ${length + 1}: it is missing: the record went on to event ${length + 1} when`),
    );
  });

  test("how an earlier export leads to a later one, which was asked for from its end", async () => {
    const earlier = await verified(shorter);
    expect(earlier.fault).toBeUndefined();
    const tenant = await organisation(2);
    const first = await verified(linesOf((await fetched(tenant)).body));
    const next = await verified(linesOf((await fetched(tenant, `after=${first.head.seq}`)).body));
    const { fault } = await verifyExport(
      each(linesOf((await fetched(tenant, `after=${first.head.seq}`)).body)),
      publicKey,
      { ...first.head, seq: 1n },
    );
    expect(fault).toMatchObject({ seq: 1n, problem: expect.stringMatching(/^the file begins behind it/) });
    expect(next).toMatchObject({ from: first.head, events: 1n, signatures: 1, fault: undefined });
  });
});

describe("the lines of a file", () => {
  async function* pieces(bytes: Buffer, size: number) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const read = async (bytes: Buffer, size = 7) => Array.fromAsync(exportLines(pieces(bytes, size)));

  test("end with a line feed alone, however the file is read, as texts may hold all other characters", async () => {
    const line = fc.string({
      unit: fc.constantFrom("a", "é", "😀", "\u2028", "\u2029", "\u0085", "\ufeff", ""),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.integer({ min: 1, max: 9 }), async (lines, size) => {
        const file = Buffer.from(lines.map((text) => `${text}\n`).join(""));
        expect(await read(file, size)).toStrictEqual(lines);
      }),
    );
  });

  test("are refused if they are no text, or longer than any line of an export", async () => {
    await expect(read(Buffer.from("a\n\xff\n", "latin1"))).rejects.toThrow("line 2: it is no UTF-8");
    async function* endless() {
      for (const zeros = Buffer.alloc(1024 * 1024); ;) yield zeros;
    }
    await expect(Array.fromAsync(exportLines(endless()))).rejects.toThrow("line 1: it is longer than any");
  });

  test("are those of a record whose details hold characters that end a line elsewhere", async () => {
    const tenant = await organisation(0);
    await service.postgres.asOwner(`select set_config('app.org_id', '${tenant.orgId}', false)`);
    await service.postgres.asOwner(
      `select audit_append('a', 't', null, null, null, '{"text":"a\u2028b\u0085c"}')`,
    );
    const { body } = await fetched(tenant);
    expect(body).toContain("a\u2028b");
    const verdict = await verifyExport(exportLines(pieces(Buffer.from(body), 100)), publicKey);
    expect(verdict).toMatchObject({ events: 4n, fault: undefined });
  });
});

test("a time is exported from its first event to its last", async () => {
  const tenant = await organisation();
  const at = (seq: number, hour: number) =>
    `update audit_events set at = '2026-03-01T0${hour}:00:00Z' where org_id = '${tenant.orgId}' and seq = ${seq}`;
  await tamper(
    service.postgres,
    ...[1, 2, 3, 4, 5].map((seq) => at(seq, seq)),
    ...ageUpTo(tenant.orgId, 0, 0),
  );
  const { body } = await fetched(tenant, "since=2026-03-01T02:00:00Z&until=2026-03-01T04:00:00%2B00:00");
  const lines = linesOf(body);
  expect(lines.slice(1, -1).map((line) => JSON.parse(line).seq)).toStrictEqual([2, 3]);
  expect((await verified(lines)).fault).toBeUndefined();
  const none = linesOf((await fetched(tenant, "until=2020-01-01T00:00:00Z")).body);
  expect(await verified(none)).toMatchObject({ events: 0n, fault: undefined });
});

test("an export after old events were removed says with a signature that they were", async () => {
  const tenant = await organisation(5);
  await tamper(service.postgres, ...ageUpTo(tenant.orgId, 4, 120));
  await service.app.loops.audit.runOnce();
  const lines = linesOf((await fetched(tenant)).body);
  expect(await verified(lines)).toMatchObject({
    from: { seq: 4n },
    isSignedStart: true,
    events: 5n,
    fault: undefined,
  });
  expect((await fetched(tenant, "after=3")).headers.get("x-error-reason")).toBe("AUDIT_EXPIRED");
  const forged = lines.with(0, lines[0]!.replace(/"signature":"../, '"signature":"AA'));
  expect(await problemOf(forged)).toMatch(/^event 4: the start is not signed/);
});

test("a record that is not as it was recorded is exported as it is, with what is wrong, and not signed", async () => {
  const tenant = await organisation();
  const where = `where org_id = '${tenant.orgId}' and seq = 3`;
  await tamper(service.postgres, `update audit_events set target = 'x' ${where}`);
  const lines = linesOf((await fetched(tenant)).body);
  const end = JSON.parse(lines.at(-1)!);
  expect(end).toMatchObject({
    events: 6,
    fault: { seq: 3, problem: "it was changed after it was recorded" },
  });
  expect(end).not.toHaveProperty("signature");
  expect(lines).toHaveLength(8);
  expect(await problemOf(lines)).toBe("event 3: it was changed after it was recorded");
});

describe("as CSV", () => {
  /** RFC 4180, in the least code. */
  function parse(csv: string): string[][] {
    const records: string[][] = [[]];
    let rest = csv;
    while (rest !== "") {
      const [whole, quoted, plain, separator] = /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/.exec(rest)!;
      records.at(-1)!.push(quoted === undefined ? plain! : quoted.replaceAll('""', '"'));
      if (separator === "\r\n") records.push([]);
      rest = rest.slice(whole.length);
    }
    return records.slice(0, -1);
  }

  test("any text comes back, and none of it is taken for a formula", () => {
    const hostile = fc.string({
      unit: fc.constantFrom("=", "+", "-", "@", "\t", "\r", "\n", " ", '"', ",", "'", "a", "＝", ";"),
    });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(hostile, fc.string({ unit: "grapheme" })), { minLength: 1 }),
        (values) => {
          const [record, ...others] = parse(csvRecord(values));
          expect(others).toStrictEqual([]);
          for (const [i, field] of record!.entries()) {
            // Also for a spreadsheet that takes another separator, and then no quotes.
            for (const cell of field.split(/[;\t\r\n]/)) expect(cell).not.toMatch(/^[\s"]*[=+\-@＝＋－＠]/);
            expect(field).not.toMatch(/^[\t\r\n]/);
            expect(field.replaceAll("'", "")).toBe(values[i]!.replaceAll("'", ""));
            if (!/[=+\-@\t\r\n＝＋－＠]/.test(values[i]!)) expect(field).toBe(values[i]);
          }
        },
      ),
    );
  });

  test.each([
    ["=1+1", "'=1+1"],
    ["a;=cmd|' /C calc'!A0;b", "a;'=cmd|' /C calc'!A0;b"],
    ["\t=1", "'\t'=1"],
    ['x;"=1"', `"x;'""=1"""`],
    ["a=1; b", "a=1; b"],
    ["a;b\n-1", `"a;b\n'-1"`],
  ])("%j is written as %j", (value, written) => {
    expect(csvRecord([value])).toBe(`${written}\r\n`);
  });

  test("a record that cannot be read to its end is no file, since CSV has no place to say it", async () => {
    const { orgId } = await organisation(0);
    const database = createDatabase({ url: service.postgres.url, log: pino({ level: "silent" }) });
    const range = { from: chainStart, upTo: 9n, start: undefined };
    const parts = {
      database,
      auditKey: { id: "", publicKey, sign: () => Buffer.alloc(0) },
      now: () => new Date(),
    };
    await expect(Array.fromAsync(exportRecord(parts, orgId, range, csv))).rejects.toThrow(
      `the record of ${orgId} cannot be exported behind event 2: it is missing, or out of order`,
    );
    await database.close();
  });

  test("the record has a header and a line for each event, and a formula in a name is text", async () => {
    const tenant = await organisation(0);
    const formula = '=HYPERLINK("http://evil.example","x")';
    await tenant.client.apiKeys.createApiKey({ name: formula, scopes: ["a:b"] });
    await tamper(
      service.postgres,
      `update audit_events set target = '@SUM(1)' where org_id = '${tenant.orgId}' and seq = 3`,
    );
    const { headers, body } = await fetched(tenant, "format=csv");
    expect(headers.get("content-type")).toBe("text/csv; charset=utf-8; header=present");
    const [header, ...records] = parse(body);
    expect(header).toStrictEqual([
      ...["seq", "at", "action", "target", "api_key_id", "user_id", "request_id", "details"],
    ]);
    expect(records.map(([seq]) => seq)).toStrictEqual(["1", "2", "3", "4"]);
    expect(records[2]![3]).toBe("'@SUM(1)");
    expect(JSON.parse(records[2]![7]!).name).toBe(formula);
  });
});

describe("a large record", () => {
  /** 30 MB: more than what stands between the service and a reader that does not read. */
  let tenant: Tenant;
  beforeAll(async () => {
    tenant = await organisation(0);
    await tamper(
      service.postgres,
      `insert into audit_events select '${tenant.orgId}', n, now(), 'a', 't', null, null, null,
         ('"' || repeat('x', 10000) || '"')::json, '', '' from generate_series(3, 3002) n`,
      `update audit_heads set seq = 3002 where org_id = '${tenant.orgId}'`,
    );
  });

  function opened({ secret }: Presenter) {
    return new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { authorization: `Bearer ${secret}` };
      request(`${service.url}/api/audit/export`, { headers }, resolve).on("error", reject).end();
    });
  }

  test("is read as slowly as its reader likes without an open transaction, and arrives whole", async () => {
    const answer = await opened(tenant);
    // Until the service waits for the reader, and no longer for the database.
    const open =
      "select count(*)::int as n from pg_stat_activity where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()";
    await expect.poll(async () => (await service.postgres.asOwner(open))[0]?.["n"]).toBe(0);
    const body = await text(answer);
    expect(linesOf(body)).toHaveLength(3002 + 1 + 2);
  });

  test("is cut when its key is revoked meanwhile", async () => {
    const reader = await tenant.client.apiKeys.createApiKey({ name: "reader", scopes: ["audit:view"] });
    const answer = await opened(service.as(reader.secret));
    await tenant.client.apiKeys.revokeApiKey({ id: reader.apiKey!.id });
    service.clock.advance(2_000);
    await expect(text(answer)).rejects.toThrow("aborted");
  });
});
