import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { append } from "#src/audit/append.ts";
import { readChain, readHead } from "#src/audit/store.ts";
import { createStepQueue } from "#src/audit/step-queue.ts";
import { chainStart, followChain, type Head, type StoredEvent } from "#src/audit/verify-chain.ts";
import { createVerifyRecord, type VerifyRecord } from "#src/audit/verify-record.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { rewriteFrom, tamper } from "./support.ts";

let postgres: TestDatabase;
let database: Database;
let verifyRecord: VerifyRecord;
let count = 0;

beforeAll(async () => {
  postgres = await createTestDatabase();
  database = createDatabase({ url: postgres.url, log: pino({ level: "silent" }) });
  verifyRecord = createVerifyRecord(database);
});
afterAll(async () => {
  await database.close();
  await postgres[Symbol.asyncDispose]();
});

/** A new organisation with this many events: `step.1`, `step.2`, … */
async function organisationWith(events: number, padding = ""): Promise<string> {
  const orgId = `org_${count++}`;
  // A transaction must end within some seconds, on a busy machine, too.
  for (let first = 1; first <= events; first += 250) {
    await database.change(orgId, async (tx) => {
      for (let n = first; n < first + 250 && n <= events; n++) {
        await append(tx, "service", { action: `step.${n}`, target: `t${n % 2}`, details: { n, padding } });
      }
    });
  }
  return orgId;
}

function step(orgId: string, n: number): Promise<void> {
  return database.change(orgId, (tx) =>
    append(tx, "service", { action: `step.${n}`, target: "t", details: { n } }),
  );
}

async function keepHead(orgId: string): Promise<Head> {
  return await database.read(orgId, (tx) => readHead(tx, orgId));
}

async function eventsOf(orgId: string): Promise<StoredEvent[]> {
  const whole = { after: 0n, upTo: 1_000_000n, maxBytes: 1e9 };
  return await database.read(orgId, (tx) => readChain(tx, orgId, whole));
}

/** Runs while the record is tampered with, and undoes that. */
async function whileTampered(statements: string[], run: () => Promise<void>): Promise<void> {
  await postgres.asOwner("create table kept_events as select * from audit_events");
  await postgres.asOwner("create table kept_heads as select * from audit_heads");
  try {
    await tamper(postgres, ...statements);
    await run();
  } finally {
    await tamper(
      postgres,
      "delete from audit_events",
      "delete from audit_heads",
      "insert into audit_events select * from kept_events",
      "insert into audit_heads select * from kept_heads",
    );
    await postgres.asOwner("drop table kept_events, kept_heads");
  }
}

/** Runs while Postgres fails each statement that comes upon such a row, as it does upon a damaged page. */
async function whileDamaged(table: string, condition: string, run: () => Promise<void>): Promise<void> {
  await postgres.asOwner(
    `create function invalid_page() returns boolean language plpgsql as $$
     begin raise 'invalid page' using errcode = 'XX001'; end $$`,
  );
  await postgres.asOwner(
    `create policy damage on ${table} as restrictive to patchbay_app
       using (case when ${condition} then invalid_page() else true end)`,
  );
  try {
    await run();
  } finally {
    await postgres.asOwner(`drop policy damage on ${table}`);
    await postgres.asOwner("drop function invalid_page");
  }
}

const emptied = (orgId: string) => [
  `delete from audit_events where org_id = '${orgId}'`,
  `update audit_heads set seq = 0, hash = decode(repeat('00', 32), 'hex') where org_id = '${orgId}'`,
];
const headSetTo = (orgId: string, seq: number) =>
  `update audit_heads set (seq, hash) = (select seq, hash from audit_events
     where org_id = '${orgId}' and seq = ${seq}) where org_id = '${orgId}'`;

test("a record passes whatever its events hold, and its end is the head to keep", async () => {
  const text = fc.string({ unit: "binary" }).filter((value) => !value.includes("\0") && value.isWellFormed());
  const details = fc.dictionary(text, fc.jsonValue());
  const events = fc.array(fc.record({ action: text, target: text, details }), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(events, async (recorded) => {
      const orgId = `org_${count++}`;
      await database.change(orgId, async (tx) => {
        for (const event of recorded) await append(tx, "service", event);
      });
      const head = await keepHead(orgId);
      expect(await verifyRecord(orgId)).toMatchObject({ verified: BigInt(recorded.length), head });
      expect((await eventsOf(orgId)).at(-1)?.details).toBe(JSON.stringify(recorded.at(-1)?.details));
    }),
    { numRuns: 25 },
  );
});

test("what is appended while a record is verified is no fault", async () => {
  const orgId = await organisationWith(1);
  const appending = Promise.all(Array.from({ length: 40 }, (_, n) => step(orgId, n)));
  const verdicts = await Promise.all(Array.from({ length: 40 }, () => verifyRecord(orgId)));
  await appending;
  expect(verdicts.filter((verdict) => !("head" in verdict))).toStrictEqual([]);
  expect(await verifyRecord(orgId)).toMatchObject({ verified: 41n, head: { seq: 41n } });
});

describe("without a kept head, verification detects", () => {
  const edits: [string, string][] = [
    ["the action", "action = 'step.9'"],
    ["the target", "target = 'other'"],
    ["the time, by a millisecond", "at = at + interval '1 millisecond'"],
    ["the time, to one that no Date holds", "at = 'infinity'"],
    ["the key", "api_key_id = 'key_2'"],
    ["an absent user into an empty one", "user_id = ''"],
    ["the request", "request_id = 'req_9'"],
    ["a space in the details", `details = '{"n": 2}'`],
    ["the details, into what is no object", "details = '[]'"],
    ["the hash", "hash = sha256('x')"],
    ["the hash, into an empty one", "hash = ''"],
    ["the previous hash", "previous_hash = sha256('x')"],
    ["a character moved from one field into the next", "action = 'step.', target = '2' || target"],
  ];
  test.each(edits)("an edit of %s", async (_, edit) => {
    const orgId = await organisationWith(3);
    await tamper(postgres, `update audit_events set ${edit} where org_id = '${orgId}' and seq = 2`);
    expect(await verifyRecord(orgId)).toMatchObject({ verified: 1n, fault: { seq: 2n } });
  });

  test.each(["at", "action", "target", "details", "previous_hash", "hash"])(
    "a null that the owner allowed in %s",
    async (column) => {
      await using other = await createTestDatabase();
      await using opened = new AsyncDisposableStack();
      const its = createDatabase({ url: other.url, log: pino({ level: "silent" }) });
      opened.defer(() => its.close());
      await its.change("org_a", (tx) => append(tx, "service", { action: "a", target: "t", details: {} }));
      await tamper(
        other,
        `alter table audit_events alter ${column} drop not null`,
        `update audit_events set ${column} = null`,
      );
      expect(await createVerifyRecord(its)("org_a")).toMatchObject({ fault: { seq: 1n } });
    },
  );

  const others: [what: string, seq: bigint, statements: (orgId: string) => string[]][] = [
    ["a deleted event", 2n, (orgId) => [`delete from audit_events where org_id = '${orgId}' and seq = 2`]],
    ["a deleted first event", 1n, (orgId) => [`delete from audit_events where org_id = '${orgId}' and seq = 1`]],
    ["a cut tail", 4n, (orgId) => [`delete from audit_events where org_id = '${orgId}' and seq > 3`]],
    [
      "two events that changed places",
      2n,
      (orgId) => [
        `update audit_events set seq = -2 where org_id = '${orgId}' and seq = 2`,
        `update audit_events set seq = 2 where org_id = '${orgId}' and seq = 3`,
        `update audit_events set seq = 3 where org_id = '${orgId}' and seq = -2`,
      ],
    ],
    ["an event before the first one", 0n, (orgId) => [copyOf(orgId, 1, 0)]],
    ["an event with the lowest number there is", -(2n ** 63n), (orgId) => [copyOf(orgId, 1, "-9223372036854775808")]],
    ["an event after the head", 6n, (orgId) => [copyOf(orgId, 5, 6)]],
    ["an event with the highest number there is", 6n, (orgId) => [copyOf(orgId, 5, "9223372036854775807")]],
    ["a head that was set back", 4n, (orgId) => [headSetTo(orgId, 3)]],
    ["a head that was set to the highest number there is", 6n, (orgId) => [
      `update audit_heads set seq = 9223372036854775807 where org_id = '${orgId}'`,
    ]],
    ["a head with another hash", 5n, (orgId) => [
      `update audit_heads set hash = sha256('x') where org_id = '${orgId}'`,
    ]],
    ["a deleted head", 1n, (orgId) => [`delete from audit_heads where org_id = '${orgId}'`]],
    ["a record without any event", 1n, emptied],
    ["a record without any event and head", 1n, (orgId) => [
      `delete from audit_events where org_id = '${orgId}'`,
      `delete from audit_heads where org_id = '${orgId}'`,
    ]],
  ]; // prettier-ignore
  test.each(others)("%s", async (_, seq, statements) => {
    const orgId = await organisationWith(5);
    await tamper(postgres, ...statements(orgId));
    expect(await verifyRecord(orgId)).toMatchObject({ fault: { seq } });
  });

  const copyOf = (orgId: string, seq: number, as: number | string) =>
    `insert into audit_events select org_id, ${as}, at, action, target, api_key_id, user_id, request_id, details,
       previous_hash, hash from audit_events where org_id = '${orgId}' and seq = ${seq}`;

  test("a record that was swapped for another organisation's", async () => {
    const [ours, theirs] = [await organisationWith(3), await organisationWith(3)];
    const swap = (table: string) =>
      `update ${table} set org_id = 'swapped' where org_id = '${ours}';
       update ${table} set org_id = '${ours}' where org_id = '${theirs}';
       update ${table} set org_id = '${theirs}' where org_id = 'swapped'`;
    await tamper(postgres, swap("audit_events"), swap("audit_heads"));
    for (const orgId of [ours, theirs]) {
      const fault = { seq: 1n, problem: "it was changed after it was recorded" };
      expect(await verifyRecord(orgId)).toMatchObject({ verified: 0n, fault });
    }
  });

  test("two histories that were spliced, each whole in itself", async () => {
    const orgId = await organisationWith(3);
    await postgres.asOwner(
      `create table history as select * from audit_events where org_id = '${orgId}' and seq = 1`,
    );
    await tamper(postgres, ...emptied(orgId));
    for (const n of [7, 8, 9]) await step(orgId, n);
    await tamper(
      postgres,
      `delete from audit_events where org_id = '${orgId}' and seq = 1`,
      "insert into audit_events select * from history",
    );
    const fault = { seq: 2n, problem: "it does not follow the previous event" };
    expect(await verifyRecord(orgId)).toMatchObject({ verified: 1n, fault });
  });

  const damages = (what: string) => `${what} cannot be read: Postgres finds its own data damaged (XX001)`;

  test("an event that Postgres itself cannot read, without failing", async () => {
    const orgId = await organisationWith(250);
    await whileDamaged("audit_events", `org_id = '${orgId}' and seq = 173`, async () => {
      const damaged = { verified: 172n, fault: { seq: 173n, problem: damages("it") } };
      expect(await verifyRecord(orgId)).toMatchObject(damaged);
      const known = { seq: 173n, hash: Buffer.alloc(32) };
      expect(await verifyRecord(orgId, { known })).toMatchObject(damaged);
    });
  });

  test("a stored head that Postgres itself cannot read, without failing", async () => {
    const orgId = await organisationWith(3);
    await whileDamaged("audit_heads", `org_id = '${orgId}'`, async () => {
      const fault = { seq: 0n, problem: damages("the stored head") };
      expect(await verifyRecord(orgId)).toMatchObject({ verified: 0n, fault });
    });
  });

  test("that Postgres cannot say what the last event is, without failing", async () => {
    const orgId = await organisationWith(3);
    const isAsked = "current_query() like '%max(%'";
    await whileDamaged("audit_events", `org_id = '${orgId}' and ${isAsked}`, async () => {
      const fault = { seq: 3n, problem: damages("an end of the record") };
      expect(await verifyRecord(orgId)).toMatchObject({ verified: 3n, fault });
    });
  });
});

describe("only a kept head shows", () => {
  test("a cut tail whose stored head was cut too", async () => {
    const orgId = await organisationWith(3);
    const known = await keepHead(orgId);
    const cut = `delete from audit_events where org_id = '${orgId}' and seq = 3`;
    await tamper(postgres, cut, headSetTo(orgId, 2));
    expect(await verifyRecord(orgId)).toMatchObject({ head: { seq: 2n } });
    const problem = "it is missing: the record went on to event 3 when the known head was kept";
    expect(await verifyRecord(orgId, { known })).toMatchObject({ verified: 2n, fault: { seq: 3n, problem } });
    expect(await verifyRecord(orgId, { after: known })).toMatchObject({
      verified: 0n,
      fault: { seq: 3n, problem },
    });
  });

  test("a record that was written anew from some event on, with hashes that fit", async () => {
    const orgId = await organisationWith(3);
    const known = await keepHead(orgId);
    for (const n of [4, 5]) await step(orgId, n);
    const after = await keepHead(orgId);
    await tamper(postgres, ...rewriteFrom(orgId, 2, "target = 'forged'"));
    expect(await verifyRecord(orgId)).toMatchObject({ verified: 5n, head: { seq: 5n } });
    const problem = "it differs from a known head";
    expect(await verifyRecord(orgId, { known })).toMatchObject({ verified: 3n, fault: { seq: 3n, problem } });
    expect(await verifyRecord(orgId, { after })).toMatchObject({ verified: 0n, fault: { seq: 5n, problem } });
    // The known head is older than what is trusted, and is compared all the same.
    const trusted = await keepHead(orgId);
    const both = await verifyRecord(orgId, { known, after: trusted });
    expect(both).toMatchObject({ verified: 0n, fault: { seq: 3n, problem } });
  });

  test("a start of the record that is none", async () => {
    const orgId = await organisationWith(1);
    const known = { seq: 0n, hash: Buffer.alloc(32, 1) };
    expect(await verifyRecord(orgId, { known })).toMatchObject({ fault: { seq: 0n } });
    expect(await verifyRecord(orgId, { known: chainStart })).toMatchObject({
      verified: 1n,
      head: { seq: 1n },
    });
  });
});

describe("a kept head", () => {
  test("of any age passes as long as the record still holds its event", async () => {
    const orgId = `org_${count++}`;
    const heads = [];
    for (let n = 1; n <= 4; n++) {
      await step(orgId, n);
      heads.push(await keepHead(orgId));
    }
    for (const known of heads) {
      expect(await verifyRecord(orgId, { known })).toMatchObject({ verified: 4n, head: { seq: 4n } });
      const left = 4n - known.seq;
      expect(await verifyRecord(orgId, { after: known })).toMatchObject({
        verified: left,
        head: { seq: 4n },
      });
    }
  });

  test("that is trusted hides what was changed before it, and nothing after it or of its own event", async () => {
    const orgId = await organisationWith(3);
    const after = await keepHead(orgId);
    for (const n of [4, 5]) await step(orgId, n);
    const edit = (seq: number) => [
      `update audit_events set target = 'x' where org_id = '${orgId}' and seq = ${seq}`,
    ];
    await whileTampered(edit(2), async () => {
      expect(await verifyRecord(orgId, { after })).toMatchObject({ verified: 2n, head: { seq: 5n } });
    });
    for (const seq of [3, 4, 5]) {
      await whileTampered(edit(seq), async () => {
        expect(await verifyRecord(orgId, { after })).toMatchObject({ fault: { seq: BigInt(seq) } });
      });
    }
  });
});

describe("page by page", () => {
  let orgId: string;
  beforeAll(async () => void (orgId = await organisationWith(1_700)));

  /** Verifies in calls that may go on for some pages each, as a caller does who follows `next`. */
  async function inCalls(pagesPerCall: number) {
    let verified = 0n;
    let after: Head | undefined;
    for (;;) {
      let pages = 0;
      const verdict = await verifyRecord(orgId, { after }, () => pages++ < pagesPerCall);
      verified += verdict.verified;
      if (!("next" in verdict)) return { ...verdict, verified };
      after = verdict.next;
    }
  }

  test("a long record passes, in one call or in several", async () => {
    const whole = { verified: 1_700n, head: await keepHead(orgId) };
    expect(await verifyRecord(orgId)).toMatchObject(whole);
    for (const pages of [1, 2, 3]) expect(await inCalls(pages)).toMatchObject(whole);
  });

  test("a verification that may not go on says where to go on", async () => {
    expect(await verifyRecord(orgId, {}, () => false)).toMatchObject({ verified: 0n, next: chainStart });
  });

  test("an event that was changed or deleted is found wherever the pages end", async () => {
    const seqs = fc.oneof(
      fc.constantFrom(1, 100, 101, 300, 301, 550, 551, 1_700),
      fc.integer({ min: 1, max: 1_700 }),
    );
    const how = fc.constantFrom("delete from audit_events", "update audit_events set action = 'x'");
    await fc.assert(
      fc.asyncProperty(seqs, how, fc.integer({ min: 1, max: 4 }), async (seq, change, pages) => {
        await whileTampered([`${change} where org_id = '${orgId}' and seq = ${seq}`], async () => {
          const found = { verified: BigInt(seq - 1), fault: { seq: BigInt(seq) } };
          expect(await verifyRecord(orgId)).toMatchObject(found);
          expect(await inCalls(pages)).toMatchObject(found);
        });
      }),
      { numRuns: 15 },
    );
  });

  test("a chain has one verdict, in whatever pages it is read and whatever was done to it", async () => {
    const shortId = await organisationWith(12);
    const [events, others] = [await eventsOf(shortId), await eventsOf(orgId)];
    const place = fc.nat({ max: events.length - 1 });
    const tampering = fc.oneof(
      fc.constant((chain: StoredEvent[]) => chain),
      place.map((at) => (chain: StoredEvent[]) => chain.toSpliced(at, 1)),
      place.map((at) => (chain: StoredEvent[]) => chain.with(at, { ...chain[at]!, target: "x" })),
      place.map((at) => (chain: StoredEvent[]) => chain.with(at, others[at]!)),
      place.map((at) => (chain: StoredEvent[]) => chain.toSpliced(at, 0, chain[at]!)),
      fc.tuple(place, place).map(([one, other]) => (chain: StoredEvent[]) =>
        chain.with(one, chain[other]!).with(other, chain[one]!),
      ),
    ); // prettier-ignore
    fc.assert(
      fc.property(tampering, fc.array(fc.integer({ min: 1, max: 5 })), (tampered, sizes) => {
        const chain = tampered(events);
        const whole = followChain(shortId, chainStart, chain);
        expect(followPages(shortId, chain, sizes)).toStrictEqual(whole);
        const isWhole = chain.every((event, at) => event === events[at]);
        expect("problem" in whole).toBe(!isWhole);
      }),
      { numRuns: 500 },
    );
  });

  function followPages(ofOrg: string, chain: StoredEvent[], sizes: number[]) {
    let reached = chainStart;
    for (let rest = chain; rest.length > 0; rest = rest.slice(sizes[0] ?? 7), sizes = sizes.slice(1)) {
      const found = followChain(ofOrg, reached, rest.slice(0, sizes[0] ?? 7));
      if ("problem" in found) return found;
      reached = found;
    }
    return reached;
  }

  test("a page is small where events are large, and holds at least one", async () => {
    const largeId = await organisationWith(30, "x".repeat(100_000));
    const page = async (after: bigint, maxBytes: number) =>
      (await database.read(largeId, (tx) => readChain(tx, largeId, { after, upTo: 30n, maxBytes }))).map(
        ({ seq }) => seq,
      );
    expect(await page(0n, 250_000)).toStrictEqual([1n, 2n, 3n]);
    expect(await page(3n, 1)).toStrictEqual([4n]);
    expect(await page(29n, 250_000)).toStrictEqual([30n]);
    expect(await verifyRecord(largeId)).toMatchObject({ verified: 30n, head: { seq: 30n } });
  });
});

describe("turns", () => {
  test("one step runs at a time, and who has many waiting delays another by one", async () => {
    const inTurn = createStepQueue();
    const order: string[] = [];
    let running = 0;
    const run = (key: string) =>
      inTurn(key, async () => {
        running++;
        await Promise.resolve();
        expect(running--).toBe(1);
        order.push(key);
      });
    await Promise.all([run("a"), run("a"), run("a"), run("b"), run("a"), run("b"), run("c")]);
    expect(order.join("")).toBe("aabcaba");
  });

  test("a step that fails fails its caller alone", async () => {
    const inTurn = createStepQueue();
    const failing = inTurn("a", () => Promise.reject(new Error("on purpose")));
    const next = inTurn("a", () => Promise.resolve("done"));
    await expect(failing).rejects.toThrow("on purpose");
    expect(await next).toBe("done");
  });
});
