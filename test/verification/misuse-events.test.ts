import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMisuseEvents } from "#src/verification/misuse-events.ts";
import type { PresentedKey } from "#src/api-keys/presented-key.ts";
import type { InvalidBecause } from "#src/verification/errors.ts";
import { listEvents } from "#src/audit/store.ts";
import { createVerifyRecord } from "#src/audit/verify-record.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import { recordingLog } from "../net/support.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let postgres: TestDatabase;
let database: Database;
let count = 0;

beforeAll(async () => {
  postgres = await createTestDatabase();
  database = createDatabase({ url: postgres.url, log: recordingLog().log });
});
afterAll(async () => {
  await database.close();
  await postgres[Symbol.asyncDispose]();
});

const noon = new Date("2026-03-01T12:00:00.000Z");
const minute = 60_000;
const hour = 60 * minute;
const leak = { place: "query", path: "/api/x" } as const;
const by = { requestId: "req_1", address: "203.0.113.7" };

/** A key of an organisation of its own. */
function newKey(fields: Partial<PresentedKey> = {}): PresentedKey {
  count += 1;
  return {
    orgId: `org_${count}`,
    id: `key_${count}`,
    name: "payments",
    environment: "live",
    scopes: [],
    activeUserId: undefined,
    boundUserId: undefined,
    expiresAt: undefined,
    revokedAt: undefined,
    secretHash: "00",
    validUntil: undefined,
    wasUsed: true,
    rateLimitPerMinute: undefined,
    connections: undefined,
    callerServiceSlug: undefined,
    allows: () => true,
    metadata: {},
    ...fields,
  };
}

function startMisuse(over: Partial<Database> = {}) {
  const clock = { now: noon };
  const { log, lines } = recordingLog();
  const misuse = createMisuseEvents({ database: { ...database, ...over }, log, now: () => clock.now });
  return {
    clock,
    lines,
    advance: (ms: number) => void (clock.now = new Date(clock.now.getTime() + ms)),
    ...misuse,
  };
}

/** What the organisation reads in its audit log, oldest first. */
async function eventsOf({ orgId }: PresentedKey) {
  const reader = { orgId, environment: "sandbox", connections: undefined } as const;
  const events = await database.read(orgId, (tx) => listEvents(tx, reader, { limit: 1_000 }));
  return events
    .toReversed()
    .map(({ details, ...event }) => ({ ...event, details: JSON.parse(String(details)) as object }));
}

describe("an event", () => {
  test("of a leak says where the key was, by whom, and whether it is still good; it is the service's own", async () => {
    const misuse = startMisuse();
    const key = newKey();
    misuse.noteLeak(key, { place: "path", path: "/api/api-keys/[redacted]" }, by);
    await misuse.close();
    expect(await eventsOf(key)).toMatchObject([
      { action: "api_key.leaked", target: key.id, apiKeyId: null, userId: null, requestId: null },
    ]);
    expect((await eventsOf(key))[0]!.details).toStrictEqual({
      name: "payments",
      place: "path",
      path: "/api/api-keys/[redacted]",
      stillGood: true,
      secretValidUntil: null,
      requestId: "req_1",
      clientAddress: "203.0.113.7",
      suppressed: 0,
    });
  });

  test.each<[string, Partial<PresentedKey>]>([
    ["revoked", { revokedAt: noon }],
    ["expired", { expiresAt: noon }],
    ["retired", { validUntil: noon }],
  ])("says of a %s key that it is no longer good", async (_, fields) => {
    const misuse = startMisuse();
    const key = newKey(fields);
    misuse.noteLeak(key, leak, by);
    await misuse.close();
    expect(await eventsOf(key)).toMatchObject([{ details: { stillGood: false } }]);
  });

  test("of a use after the end says when that was, and names no address that is not known", async () => {
    const misuse = startMisuse();
    const ended = newKey({ revokedAt: noon });
    const rotated = newKey({ validUntil: noon });
    misuse.noteUse(ended, "revoked", by);
    misuse.noteUse(rotated, "retired", { requestId: "req_2", address: undefined });
    await misuse.close();
    const common = { name: "payments", suppressed: 0 };
    expect((await eventsOf(ended)).map(({ action, details }) => [action, details])).toStrictEqual([
      [
        "api_key.used_after_revocation",
        { ...common, revokedAt: noon.toISOString(), requestId: "req_1", clientAddress: "203.0.113.7" },
      ],
    ]);
    expect((await eventsOf(rotated)).map(({ action, details }) => [action, details])).toStrictEqual([
      [
        "api_key.used_after_rotation",
        { ...common, secretValidUntil: noon.toISOString(), requestId: "req_2", clientAddress: null },
      ],
    ]);
  });
});

test.each<InvalidBecause>(["malformed", "unknown", "wrong caller service"])(
  "a key that was refused as %s leaves none",
  async (because) => {
    const misuse = startMisuse();
    const key = newKey();
    misuse.noteUse(key, because, by);
    await misuse.close();
    expect(await eventsOf(key)).toEqual([]);
  },
);

describe("how often", () => {
  test("a key has one event an hour, and the next one counts those between", async () => {
    const misuse = startMisuse();
    const key = newKey({ revokedAt: noon });
    for (let i = 0; i < 3; i++) misuse.noteUse(key, "revoked", by);
    misuse.advance(hour - 1);
    misuse.noteUse(key, "revoked", by);
    misuse.advance(1);
    for (let i = 0; i < 2; i++) misuse.noteUse(key, "revoked", by);
    misuse.advance(hour);
    misuse.noteUse(key, "revoked", by);
    await misuse.close();
    expect(await eventsOf(key)).toMatchObject([0, 3, 1].map((suppressed) => ({ details: { suppressed } })));
  });

  test("neither another key nor another action of the key is kept quiet by it", async () => {
    const misuse = startMisuse();
    const key = newKey({ revokedAt: noon });
    const other = { ...key, id: "key_other" };
    misuse.noteUse(key, "revoked", by);
    misuse.noteLeak(key, leak, by);
    misuse.noteUse(key, "retired", by);
    misuse.noteUse(other, "revoked", by);
    misuse.noteUse({ ...key, orgId: "org_other" }, "revoked", by);
    await misuse.close();
    expect((await eventsOf(key)).map(({ action, target }) => [action, target])).toEqual([
      ["api_key.used_after_revocation", key.id],
      ["api_key.leaked", key.id],
      ["api_key.used_after_rotation", key.id],
      ["api_key.used_after_revocation", "key_other"],
    ]);
    expect(await eventsOf({ ...key, orgId: "org_other" })).toHaveLength(1);
  });

  test("a clock that was set back keeps nothing quiet for longer", async () => {
    const misuse = startMisuse();
    const key = newKey({ revokedAt: noon });
    misuse.noteUse(key, "revoked", by);
    misuse.advance(-24 * hour);
    misuse.noteUse(key, "revoked", by);
    await misuse.close();
    expect(await eventsOf(key)).toHaveLength(2);
  });

  test("10,000 leaks leave one event, the next one counts them all, and the record is whole", async () => {
    const misuse = startMisuse();
    const key = newKey();
    for (let i = 0; i < 10_000; i++) misuse.noteLeak(key, leak, { ...by, requestId: `req_${i}` });
    misuse.advance(hour);
    misuse.noteLeak(key, leak, by);
    await misuse.close();
    expect(await eventsOf(key)).toMatchObject([
      { details: { suppressed: 0, requestId: "req_0" } },
      { details: { suppressed: 9_999 } },
    ]);
    expect(await createVerifyRecord(database)(key.orgId)).toMatchObject({ head: { seq: 2n } });
    expect(misuse.lines).toEqual([]);
  });

  test("a flood of different keys is bounded, and those that were dropped are counted in a later event", async () => {
    let written = 0;
    const change: Database["change"] = (orgId, run) => {
      written += 1;
      return written > 1_000 ? database.change(orgId, run) : (Promise.resolve() as never);
    };
    const misuse = startMisuse({ change });
    const keys = Array.from({ length: 5_000 }, () => newKey());
    for (const key of keys) misuse.noteLeak(key, leak, by);
    await expect.poll(() => misuse.lines).toHaveLength(2);
    expect(misuse.lines).toMatchObject([{ msg: expect.stringContaining("dropped") }, { dropped: 4_000 }]);
    expect(written).toBe(1_000);
    misuse.advance(minute);
    misuse.noteLeak(keys.at(-1)!, leak, by);
    await misuse.close();
    expect(await eventsOf(keys.at(-1)!)).toMatchObject([{ details: { suppressed: 1 } }]);
  });
});

describe("a database that is away", () => {
  function startAway() {
    const state = { away: true, attempts: 0 };
    const misuse = startMisuse({
      change(orgId, run) {
        state.attempts += 1;
        if (state.away) throw DatabaseUnavailable.unreachable(new Error("connection refused"));
        return database.change(orgId, run);
      },
    });
    return { ...misuse, state };
  }

  test("leaves in the log what would have been in the event, once", async () => {
    const misuse = startAway();
    const key = newKey({ revokedAt: noon });
    for (let i = 0; i < 100; i++) misuse.noteUse(key, "revoked", by);
    await misuse.close();
    expect(misuse.state.attempts).toBe(1);
    expect(misuse.lines).toMatchObject([
      {
        // No error: a client that presents such a key just then would have written it.
        level: 40,
        msg: "the misuse of a key could not be recorded",
        orgId: key.orgId,
        target: key.id,
        action: "api_key.used_after_revocation",
        details: { requestId: "req_1", clientAddress: "203.0.113.7" },
        err: { message: expect.any(String) },
      },
    ]);
  });

  test("is tried again after a minute, and the event counts what it missed", async () => {
    const misuse = startAway();
    const key = newKey({ revokedAt: noon });
    misuse.noteUse(key, "revoked", by);
    await expect.poll(() => misuse.lines).toHaveLength(1);
    misuse.state.away = false;
    misuse.advance(minute - 1);
    misuse.noteUse(key, "revoked", by);
    misuse.advance(1);
    misuse.noteUse(key, "revoked", by);
    await misuse.close();
    expect(await eventsOf(key)).toMatchObject([{ details: { suppressed: 2 } }]);
  });
});

test("whoever notes a use is not held up: the database is asked in a later turn", async () => {
  let begun = 0;
  const never = new Promise<never>(() => undefined);
  const misuse = startMisuse({
    change() {
      begun += 1;
      return never;
    },
  });
  misuse.noteUse(newKey({ revokedAt: noon }), "revoked", by);
  await Promise.resolve();
  expect(begun).toBe(0);
  await expect.poll(() => begun).toBe(1);
});
