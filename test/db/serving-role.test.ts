import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { withDatabase } from "#src/db/address.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";
import { assertServingRole } from "#src/db/assert-serving-role.ts";
import { createServingRole } from "#src/db/serving-role.ts";
import { openTransaction } from "#src/db/transaction.ts";

// Roles belong to the whole server, so this file has one of its own.

const log = pino({ level: "silent" });
let dataDir: string;
let server: EmbeddedPostgres;
let admin: Connection;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "patchbay-roles-"));
  server = await startEmbeddedPostgres({ dataDir, log, settings: { fsync: "off" } });
  admin = openConnection(server.url, {});
});
afterAll(async () => {
  await admin.end();
  await server.stop();
  await rm(dataDir, { recursive: true });
});
beforeEach(async () => {
  for (const name of ["one", "two"]) {
    await admin.run(`drop database if exists ${name} with (force)`);
    await admin.run(`create database ${name}`);
  }
  await admin.run("drop role if exists patchbay_app, landlord");
});

async function check(url: string): Promise<void> {
  const database = createDatabase({ url, log });
  try {
    await assertServingRole(database);
  } finally {
    await database.close();
  }
}

/** The URL of a user without any special right who owns the database. */
async function ownedBy(user: string, database: string, rights: string): Promise<string> {
  await admin.run(`do $$ begin create role ${user}; exception when duplicate_object then end $$`);
  await admin.run(`alter role ${user} login nosuperuser ${rights}`);
  await admin.run(`alter database ${database} owner to ${user}`);
  return withDatabase(server.url, database).replace("user=patchbay", `user=${user}`);
}

test("eight migrations of two databases of one server make the role once and all succeed", async () => {
  const urls = ["one", "two"].flatMap((name) =>
    Array.from({ length: 4 }, () => withDatabase(server.url, name)),
  );
  await Promise.all(urls.map((url) => migrate({ url, log })));
  await Promise.all(urls.map(check));
});

test("sessions that make the role at the same moment all succeed", async () => {
  const sessions = Array.from({ length: 8 }, () => openConnection(server.url, {}));
  for (let round = 0; round < 10; round++) {
    await admin.run("drop role if exists patchbay_app");
    await Promise.all(sessions.map(createServingRole));
  }
  await Promise.all(sessions.map((session) => session.end()));
});

test("a user who made the role without being allowed to take it is allowed to, and serves", async () => {
  const url = await ownedBy("maker", "one", "createrole");
  await using maker = openConnection(url, {});
  await maker.run("create role patchbay_app");
  await migrate({ url, log });
  await check(url);
});

test("a user who may create roles but is no superuser migrates and serves", async () => {
  const url = await ownedBy("maker", "one", "createrole");
  await migrate({ url, log });
  await check(url);
});

test("a user who may not create roles is told the SQL for the administrator, and that SQL helps", async () => {
  const url = await ownedBy("plain", "one", "nocreaterole");
  const failure: unknown = await migrate({ url, log }).catch((error: unknown) => error);
  const advice = /start again:\n(.*)$/s.exec((failure as Error).message)?.[1] ?? "";
  expect(advice).toContain('GRANT patchbay_app TO "plain"');
  for (const statement of advice.split(";").filter((text) => text.trim() !== "")) await admin.run(statement);
  await migrate({ url, log });
  await check(url);
});

const dangers: [string, string, string, RegExp][] = [
  ["is a superuser", "alter role patchbay_app superuser", "NOSUPERUSER", /is a superuser/],
  ["passes by row security", "alter role patchbay_app bypassrls", "NOBYPASSRLS", /has BYPASSRLS/],
  ["owns a table", "alter table users owner to patchbay_app", "owner", /owns public\.users/],
  [
    "belongs to the owner of a table",
    "create role landlord; alter table users owner to landlord; grant landlord to patchbay_app",
    "owner",
    /owns public\.users, itself or through another role/,
  ],
];
test.each(dangers)("serving is refused when the role %s", async (_, change, advice, problem) => {
  const url = withDatabase(server.url, "one");
  await migrate({ url, log });
  await check(url);
  await using owner = openConnection(url, {});
  await owner.run(change);
  await expect(check(url)).rejects.toThrow(problem);
  await expect(check(url)).rejects.toThrow(advice);
});

test("serving is refused when sessions do not take the role by themselves, as behind some poolers", async () => {
  const url = withDatabase(server.url, "one");
  await migrate({ url, log });
  await using pooled = openConnection(url, {});
  const database = createDatabase({ url, log });
  const asOwner: Database = { ...database, single: (run) => run(openTransaction(pooled).tx) };
  await expect(assertServingRole(asOwner)).rejects.toThrow(/do not start as patchbay_app/);
  await database.close();
});
