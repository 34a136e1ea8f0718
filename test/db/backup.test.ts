import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dump, dumpSession } from "#src/db/backup/dump.ts";
import { BackupDamaged, BackupTooNew, NotEmpty } from "#src/db/backup/errors.ts";
import { createRowSum, frame, framesOf, jsonFrame, type Frame } from "#src/db/backup/frames.ts";
import { load } from "#src/db/backup/load.ts";
import { readBackup } from "#src/db/backup/read.ts";
import { openConnection } from "#src/db/connection.ts";
import { fillEveryTable } from "../support/every-table.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startService, type TestService } from "../support/service.ts";

const log = pino({ level: "silent" });
const facts = {
  release: "0.0.0",
  madeAt: new Date(),
  seal: async (wrapped: Buffer) => ({ rootKeyId: "none", wrapped }),
};

let service: TestService;
let written: Frame[];
beforeAll(async () => {
  service = await startService();
  await service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:bank",
    baseUrl: "http://127.0.0.1:9",
    apiKey: "the-banks-own-key",
  });
  await service.org.client.channels.createChannel({ name: "orders", source: { case: "webhook", value: {} } });
  await fillEveryTable(service);
  // Days that no migration makes where it is restored.
  await service.postgres.asOwner("select keep_days('2026-01-01', '{}')");
  written = await backUp(service.postgres);
});
afterAll(() => service[Symbol.asyncDispose]());

/** The frames of a backup, without the compression of the file. */
async function backUp({ url }: TestDatabase): Promise<Frame[]> {
  await using owner = openConnection(url, dumpSession);
  const pieces = dump(owner, facts, { tables: 0, rows: 0 });
  return await Array.fromAsync(framesOf(pieces));
}

/** The frames as bytes again, in pieces of some size. */
async function* bytesOf(frames: readonly Frame[], pieceBytes = 10_000): AsyncGenerator<Buffer> {
  const whole = Buffer.concat(frames.map(({ kind, body }) => frame(kind, body)));
  for (let at = 0; at < whole.length; at += pieceBytes) yield whole.subarray(at, at + pieceBytes);
}

/** The frames with a sum that fits them, as someone who changes a backup would make it. */
function summed(frames: readonly Frame[]): Frame[] {
  const body = frames.filter(({ kind }) => kind !== "Z");
  const digest = createHash("sha256").update(Buffer.concat(body.map((one) => frame(one.kind, one.body))));
  const end = jsonFrame("Z", { sha256: digest.digest("hex"), rootKeyId: "none", seal: "" }).subarray(5);
  return [...body, { kind: "Z", body: end }];
}

async function restore(
  frames: readonly Frame[],
  { into = "migrated", pieceBytes }: { into?: "migrated" | "empty"; pieceBytes?: number } = {},
): Promise<TestDatabase> {
  const database = await createTestDatabase(into);
  try {
    await load({ url: database.url, log }, await readBackup(bytesOf(frames, pieceBytes)));
    return database;
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
}

const parsed = ({ body }: Frame) => JSON.parse(body.toString()) as Record<string, unknown>;
const sumsOf = (frames: readonly Frame[]) => frames.filter(({ kind }) => "TE".includes(kind)).map(parsed);

test("what was restored is the same to the byte, in every table and with every kind of value", async () => {
  const sums = sumsOf(written);
  expect(sums.filter(({ rows }) => rows === 0)).toStrictEqual([]);
  expect(sums.length).toBeGreaterThan(2 * 38);
  await using restored = await restore(written, { into: "empty", pieceBytes: 7 });
  const again = await backUp(restored);
  expect(sumsOf(again)).toStrictEqual(sums);
  expect(parsed(again[0] as Frame)).toStrictEqual(parsed(written[0] as Frame));
});

test("nothing that the database holds is left out but the record of its migrations and pieces on their way in", async () => {
  const held = await service.postgres.asOwner(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
       and c.relkind in ('r', 'p', 'm', 'f', 'S') and not c.relispartition order by 1`,
  );
  const kept = sumsOf(written).map(({ table }) => table);
  const left = held.map((row) => String(row["name"])).filter((name) => !kept.includes(name));
  expect(left).toStrictEqual(["event_uploads", "schema_migrations"]);
  expect(await service.postgres.asOwner("select from pg_largeobject_metadata")).toHaveLength(0);
});

test("a restored database is as protected as the original: policies, grants, triggers, partitions and indexes", async () => {
  await using restored = await restore(written);
  for (const question of [
    "select tablename, policyname, roles::text, qual, with_check from pg_policies order by 1, 2",
    "select relname, relrowsecurity, relacl::text, reloptions::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1",
    "select tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled::text from pg_trigger where not tgisinternal order by 1, 2",
    "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2",
    "select indexdef from pg_indexes where schemaname = 'public' order by 1",
    "select attrelid::regclass::text, attname, attstorage::text from pg_attribute join pg_class c on c.oid = attrelid where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and attnum > 0 order by 1, attnum",
  ]) {
    expect(await restored.asOwner(question)).toEqual(await service.postgres.asOwner(question));
  }
});

test("no column holds a number that means something to one cluster only", async () => {
  const found = await service.postgres.asOwner(
    `select attrelid::regclass::text, attname from pg_attribute join pg_class c on c.oid = attrelid
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and attnum > 0
       and atttypid in ('xid8'::regtype, 'xid'::regtype, 'oid'::regtype, 'regclass'::regtype, 'pg_lsn'::regtype, 'pg_snapshot'::regtype)`,
  );
  expect([...found]).toStrictEqual([]);
});

test("a backup that is taken while others write holds whole transactions of one moment", async () => {
  let writes = 0;
  let writing = true;
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (; writing; writes++) {
      await service.org.client.connections.upsertServiceConnection({
        serviceSlug: `custom:writer-${writer}`,
        baseUrl: "http://127.0.0.1:9",
        apiKey: `key-number-${writes}`,
      });
    }
  });
  await expect.poll(() => writes).toBeGreaterThan(8);
  const frames = await backUp(service.postgres);
  const before = writes;
  await expect.poll(() => writes).toBeGreaterThan(before);
  writing = false;
  await Promise.all(writers);
  await using restored = await restore(frames);
  const [torn] = await restored.asOwner(
    `select h.seq::int as head, max(e.seq)::int as last, count(*)::int as events
     from audit_heads h join audit_events e using (org_id) where org_id = $1 group by 1`,
    [service.org.orgId],
  );
  expect(torn).toMatchObject({ last: torn?.["head"], events: torn?.["head"] });
});

describe("a backup is refused, and leaves an empty database empty,", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database[Symbol.asyncDispose]());

  test.each<[string, (frames: readonly Frame[]) => Frame[]]>([
    ["without its end", (frames) => frames.slice(0, -1)],
    ["without its middle", (frames) => summed(frames.toSpliced(10, 1))],
    ["with a changed row", (frames) => frames.map((one) => (one.kind === "D" ? changed(one) : one))],
    [
      "with a changed row and a sum that fits the whole",
      (frames) => summed(frames.map((one) => (one.kind === "D" ? changed(one) : one))),
    ],
    ["with a table that is missing", (frames) => summed(withoutLastTable(frames))],
    ["with a row that ends the COPY before the others", (frames) => summed(hiding(frames))],
    ["with a table twice", (frames) => summed([...frames.slice(0, -1), ...frames.slice(1, -1)])],
    ["with more behind its end", (frames) => [...frames, ...frames]],
    ["with a table of the system's", (frames) => summed(renamed(frames, "orgs", "pg_authid"))],
    [
      "with a statement instead of a table",
      (frames) => summed(renamed(frames, "orgs", "orgs\" (id) from program 'true' --")),
    ],
    [
      "with a statement instead of a partition",
      (frames) => summed(withBounds(frames, "DEFAULT; create table taken ()")),
    ],
    [
      "with bounds that end their quotes",
      (frames) => summed(withBounds(frames, "FOR VALUES FROM ('a'') TO ('b')")),
    ],
  ])("%s", async (_, damage) => {
    const damaged = damage(written);
    const attempt = async () => load({ url: database.url, log }, await readBackup(bytesOf(damaged)));
    await expect(attempt()).rejects.toBeInstanceOf(BackupDamaged);
    expect(await database.asOwner("select to_regclass('taken') as taken")).toEqual([{ taken: null }]);
    // Were there a row, or a partition that another restore has to make, this would fail.
    const rows = sumsOf(await backUp(database)).filter(
      ({ rows: found }) => found !== undefined && found !== 0,
    );
    expect(rows).toStrictEqual([]);
  });

  test("whose rows were all read, if its seal is not right then", async () => {
    const accept = async () => Promise.reject(new BackupDamaged("someone may have changed it"));
    const refused = load({ url: database.url, log, accept }, await readBackup(bytesOf(written)));
    await expect(refused).rejects.toBeInstanceOf(BackupDamaged);
    expect(await database.asOwner("select from orgs")).toHaveLength(0);
  });

  test("and the whole one finds its place there after all of them", async () => {
    await load({ url: database.url, log }, await readBackup(bytesOf(written)));
    expect(sumsOf(await backUp(database))).toStrictEqual(sumsOf(written));
  });

  test("of a newer release, which it names", async () => {
    const newer = withManifest(written, (manifest) => ({
      ...manifest,
      release: "9.1.0",
      migrations: [...(manifest["migrations"] as []), { name: "9999_later", hash: "" }],
    }));
    await expect(restore(newer)).rejects.toBeInstanceOf(BackupTooNew);
    await expect(restore(newer)).rejects.toThrow(
      "a newer release (migration 9999_later, from Patchbay 9.1.0)",
    );
    const format = withManifest(written, (manifest) => ({ ...manifest, format: 2 }));
    await expect(restore(format)).rejects.toBeInstanceOf(BackupTooNew);
  });

  test("of an earlier schema than that of the place", async () => {
    const earlier = withManifest(written, (manifest) => ({
      ...manifest,
      migrations: (manifest["migrations"] as unknown[]).slice(0, -1),
    }));
    await expect(restore(earlier)).rejects.toThrow(
      "the database holds tables of a later schema than the backup's: restore into an empty one",
    );
  });

  test("with migrations that differ from those of this release", async () => {
    const other = withManifest(written, (manifest) => ({
      ...manifest,
      migrations: (manifest["migrations"] as { name: string }[]).map(({ name }) => ({
        name,
        hash: "another",
      })),
    }));
    await expect(restore(other)).rejects.toThrow(/they differ: restore it with the release that made it/);
  });
});

test("a restore goes only where nothing is: neither beside other tables nor over a service's data", async () => {
  await using foreign = await createTestDatabase("empty");
  await foreign.asOwner("create table theirs (id integer)");
  const into = async ({ url }: TestDatabase) => load({ url, log }, await readBackup(bytesOf(written)));
  await expect(into(foreign)).rejects.toBeInstanceOf(NotEmpty);
  await expect(into(service.postgres)).rejects.toThrow(
    /^the database holds rows in public\..*: restore into an empty one$/,
  );
  expect(await foreign.asOwner("select to_regclass('schema_migrations') as made")).toEqual([{ made: null }]);
});

test("a backup with any one byte changed is refused", async () => {
  const whole = await Array.fromAsync(bytesOf(written)).then((pieces) => Buffer.concat(pieces));
  // What the seal itself says is the root key's to check.
  const seal = whole.lastIndexOf('"rootKeyId"');
  await fc.assert(
    fc.asyncProperty(fc.nat(seal - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ flip;
      await expect(readToEnd(damaged)).rejects.toThrow(
        /^the backup (?:is damaged or cut|was made by a newer)/,
      );
    }),
  );
});

async function readToEnd(whole: Buffer): Promise<void> {
  const backup = await readBackup(Readable.from([whole]));
  for await (const table of backup.tables()) await Array.fromAsync(table.pieces());
}

test("a length that no backup has is refused before memory is taken for it", async () => {
  const head = Buffer.from([77, 0x7f, 0xff, 0xff, 0xff]);
  const endless = (async function* () {
    yield head;
    throw new Error("read on");
  })();
  await expect(readBackup(endless)).rejects.toBeInstanceOf(BackupDamaged);
});

function changed({ kind, body }: Frame): Frame {
  const copy = Buffer.from(body);
  copy[0] = (copy[0] ?? 0) ^ 1;
  return { kind, body: copy };
}

function withManifest(
  frames: readonly Frame[],
  change: (manifest: Record<string, unknown>) => Record<string, unknown>,
): Frame[] {
  const [manifest, ...rest] = frames;
  if (manifest === undefined) throw new Error("no frames");
  return summed([{ kind: "M", body: Buffer.from(JSON.stringify(change(parsed(manifest)))) }, ...rest]);
}

function withBounds(frames: readonly Frame[], bounds: string): Frame[] {
  return withManifest(frames, (manifest) => ({
    ...manifest,
    partitions: [...(manifest["partitions"] as []), { parent: "events", name: "events_x", bounds }],
  }));
}

function renamed(frames: readonly Frame[], from: string, to: string): Frame[] {
  return frames.map((one) => {
    if (one.kind !== "T" || parsed(one)["table"] !== from) return one;
    return { kind: "T", body: Buffer.from(JSON.stringify({ ...parsed(one), table: to })) };
  });
}

/** The last table with an end of COPY before its rows, and sums that fit. */
function hiding(frames: readonly Frame[]): Frame[] {
  const start = frames.findLastIndex(({ kind }) => kind === "T");
  const rows = Buffer.concat([
    Buffer.from("\\.\n"),
    ...frames.slice(start).flatMap(({ kind, body }) => (kind === "D" ? [body] : [])),
  ]);
  const sum = createRowSum();
  sum.add(rows);
  const end = Buffer.from(JSON.stringify(sum.end()));
  return [...frames.slice(0, start + 1), { kind: "D", body: rows }, { kind: "E", body: end }];
}

function withoutLastTable(frames: readonly Frame[]): Frame[] {
  return frames.slice(
    0,
    frames.findLastIndex(({ kind }) => kind === "T"),
  );
}
