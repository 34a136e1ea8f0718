import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import { migrate } from "#src/db/migrate.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let folder: string;
const databases: TestDatabase[] = [];
const log = pino({ level: "silent" });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "patchbay-migrations-"));
  await mkdir(join(folder, "meta"));
});
afterEach(() => Promise.all(databases.splice(0).map((database) => database[Symbol.asyncDispose]())));
afterAll(() => rm(folder, { recursive: true }));

async function emptyDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase("empty");
  databases.push(database);
  return database;
}

/** Writes files as drizzle-kit does, `when` counting up unless told otherwise. */
async function writeMigrations(files: Record<string, string>, whens?: number[]): Promise<void> {
  const entries = Object.keys(files).map((tag, idx) => ({ idx, when: whens?.[idx] ?? 1_000 + idx, tag }));
  await writeFile(join(folder, "meta", "_journal.json"), JSON.stringify({ entries }));
  for (const [tag, text] of Object.entries(files)) await writeFile(join(folder, `${tag}.sql`), text);
}

const first = "create table things (id integer);\n--> statement-breakpoint\ninsert into things values (1);";
const concurrent = "-- no-transaction\ncreate index concurrently things_id on things (id);";

test("eight replicas that start at once each find the schema, and each file was applied once", async () => {
  const database = await emptyDatabase();
  const more = "insert into things select 2 from pg_sleep(0.05)";
  await writeMigrations({ "0000_a": first, "0001_b": concurrent, "0002_c": more });
  await Promise.all(Array.from({ length: 8 }, () => migrate({ url: database.url, log, folder })));
  expect(await database.asOwner("select id from things order by id")).toEqual([{ id: 1 }, { id: 2 }]);
  expect(
    await database.asOwner("select indisvalid from pg_index where indexrelid = 'things_id'::regclass"),
  ).toEqual([{ indisvalid: true }]);
});

test("the repository's own migrations survive eight replicas too, and a second start changes nothing", async () => {
  const database = await emptyDatabase();
  await Promise.all(Array.from({ length: 8 }, () => migrate({ url: database.url, log })));
  const applied = await database.asOwner("select * from schema_migrations order by index");
  await migrate({ url: database.url, log });
  expect(await database.asOwner("select * from schema_migrations order by index")).toEqual(applied);
  expect(applied.length).toBeGreaterThan(1);
});

test("a file that fails leaves nothing of itself, and runs again once it is corrected", async () => {
  const database = await emptyDatabase();
  await writeMigrations({
    "0000_a": first,
    "0001_b": "create table half ();\n--> statement-breakpoint\nselect 1 / 0;",
  });
  await expect(migrate({ url: database.url, log, folder })).rejects.toThrow("migration 0001_b failed");
  expect(
    await database.asOwner("select to_regclass('things') is not null as a, to_regclass('half') as b"),
  ).toEqual([{ a: true, b: null }]);
  await writeMigrations({ "0000_a": first, "0001_b": "create table half ();" });
  await migrate({ url: database.url, log, folder });
  expect(await database.asOwner("select count(*)::int as applied from schema_migrations")).toEqual([
    { applied: 2 },
  ]);
});

test("a file that changed after it was applied stops the start", async () => {
  const database = await emptyDatabase();
  await writeMigrations({ "0000_a": first });
  await migrate({ url: database.url, log, folder });
  await writeMigrations({ "0000_a": `${first} ` });
  await expect(migrate({ url: database.url, log, folder })).rejects.toThrow(
    "an applied migration never changes",
  );
});

test("a journal that is out of order, as after a careless merge, stops the start", async () => {
  const database = await emptyDatabase();
  await writeMigrations({ "0000_a": first, "0001_b": concurrent }, [2_000, 1_000]);
  await expect(migrate({ url: database.url, log, folder })).rejects.toThrow("0001_b is out of order");
});

test("a release runs on the schema of the next, as it must while replicas are replaced one by one", async () => {
  const database = await emptyDatabase();
  await writeMigrations({ "0000_a": first, "0001_b": concurrent });
  await migrate({ url: database.url, log, folder });
  await writeMigrations({ "0000_a": first });
  await migrate({ url: database.url, log, folder });
});

test("a lock that a running transaction holds is waited for in short turns, so that others are not held up", async () => {
  const database = await emptyDatabase();
  await writeMigrations({ "0000_a": first });
  await migrate({ url: database.url, log, folder });
  await writeMigrations({ "0000_a": first, "0001_b": "alter table things add column name text;" });

  const holder = openConnection(database.url, {});
  await holder.run("begin");
  await holder.run("select * from things");
  const warnings: unknown[] = [];
  const waiting = Promise.withResolvers<void>();
  const listening = pino(
    { level: "warn" },
    { write: (line: string) => (warnings.push(line), waiting.resolve()) },
  );
  const migrated = migrate({ url: database.url, log: listening, folder, lockTimeoutMs: 50 });
  await waiting.promise;
  // Between two attempts the table is free for others; with an unlimited wait this would time out.
  await database.asOwner("select * from things");
  await holder.run("commit");
  await holder.end();
  await migrated;
  expect(await database.asOwner("select name from things")).toEqual([{ name: null }]);
  expect(String(warnings[0])).toContain("waits for a lock");
});

test("a credential from before belongs to the base URL that its connection had", async () => {
  const database = await emptyDatabase();
  const own = fileURLToPath(new URL("../../drizzle", import.meta.url));
  const journal = JSON.parse(await readFile(join(own, "meta", "_journal.json"), "utf8")) as {
    entries: { tag: string }[];
  };
  const before = journal.entries.filter(({ tag }) => tag < "0011");
  const older = await mkdtemp(join(tmpdir(), "patchbay-migrations-"));
  await cp(own, older, { recursive: true });
  await writeFile(join(older, "meta", "_journal.json"), JSON.stringify({ entries: before }));
  await migrate({ url: database.url, log, folder: older });
  await rm(older, { recursive: true });
  await database.asOwner("insert into orgs (id, name) values ('org_a', 'A')");
  for (const path of ["", "/v1"]) {
    await database.asOwner(
      `insert into connections (org_id, id, environment, slug, base_url, active, created_at)
       values ('org_a', 'scn' || $1, 'live', 'custom:x' || $1, 'https://bank.example' || $1, true, now())`,
      [path],
    );
    await database.asOwner(
      `insert into credentials (org_id, connection_id, origin, version, kek_version, sealed, fingerprint)
       values ('org_a', 'scn' || $1, 'https://bank.example', 1, 1, '', '')`,
      [path],
    );
  }
  await migrate({ url: database.url, log });
  expect(await database.asOwner("select bound_to from credentials order by connection_id")).toEqual([
    { bound_to: "https://bank.example" },
    { bound_to: "https://bank.example/v1" },
  ]);
});
