import { readFile } from "node:fs/promises";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readBackupFile } from "#src/cli/backup-file.ts";
import { assertSealed } from "#src/cli/backup-seal.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { load } from "#src/db/backup/load.ts";
import { readBackup, type Backup } from "#src/db/backup/read.ts";
import { dueMigrations } from "#src/db/migrate.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { presenter, startService, type Presenter, type TestService } from "../support/service.ts";

/** A database that an earlier release filled, in every table, and left as a backup; and what opens it. */
const release = "test/db/releases/0027";
const log = pino({ level: "silent" });

interface Left {
  readonly rootKey: string;
  readonly orgId: string;
  readonly adminKey: string;
}

let left: Left;
let backup: Backup;
let bank: Upstream;
let database: TestDatabase;
let service: TestService;
let admin: Presenter;

beforeAll(async () => {
  left = JSON.parse(await readFile(`${release}.json`, "utf8")) as Left;
  backup = await readBackup(readBackupFile(`${release}.patchbay`));
  bank = await startUpstream();
  database = await createTestDatabase("empty");
  await load({ url: database.url, log }, backup);
  service = await startService({ postgres: database, rootKey: left.rootKey });
  admin = presenter(service.url, left.adminKey);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await bank[Symbol.asyncDispose]();
});

test("the earlier release had rows in each of its tables, and none of the migrations since", async () => {
  const { manifest } = backup;
  expect(manifest.migrations.at(-1)?.name).toBe("0027_webhooks");
  await assertSealed({ rootKey: localRootKey(left.rootKey) }, backup);
  const again = await readBackup(readBackupFile(`${release}.patchbay`));
  const empty: string[] = [];
  for await (const table of again.tables()) {
    const pieces = await Array.fromAsync(table.pieces());
    if (pieces.length === 0) empty.push(table.name);
  }
  expect(empty).toStrictEqual([]);
});

test("all later migrations apply to its data", async () => {
  expect(await dueMigrations({ url: database.url, log })).toStrictEqual([]);
});

test("its keys are good, and see what they saw", async () => {
  const { connections } = await admin.client.connections.listConnections({});
  expect(connections).toMatchObject([{ serviceSlug: "custom:bank", baseUrl: "http://127.0.0.1:9" }]);
});

test("its credentials open, and go out with calls", async () => {
  // Where the service was then; a credential goes nowhere else.
  await database.asOwner(
    `update credentials set bound_to = '${bank.url}' where bound_to = 'http://127.0.0.1:9'`,
  );
  await database.asOwner(`update connections set base_url = '${bank.url}' where slug = 'custom:bank'`);
  await admin.client.connections.callAction({ actionIdentifier: "custom:bank/GET /accounts" });
  expect(bank.asked.at(-1)?.headers["authorization"]).toBe("Bearer the-banks-own-key");
});

test("its audit log is whole, and goes on", async () => {
  const before = await admin.client.audit.verifyAudit({});
  expect(before).toMatchObject({ valid: true });
  const { secret } = await admin.client.apiKeys.createApiKey({ name: "after", scopes: ["connections:view"] });
  expect((await presenter(service.url, secret).rest("GET", "/api/connections")).status).toBe(200);
  const after = await admin.client.audit.verifyAudit({});
  expect(after).toMatchObject({ valid: true, verifiedEvents: before.verifiedEvents + 1n });
});

test("its channels take further events, behind those that they have", async () => {
  const { channels } = await admin.client.channels.listChannels({});
  const id = String(channels.find(({ name }) => name === "orders")?.id);
  const [head] = await database.asOwner(
    "select max(seq)::int as seq from log_heads where log like '%' || $1",
    [id],
  );
  const { seq } = await admin.client.channels.testChannel({ id });
  expect(seq).toBe(BigInt(Number(head?.["seq"] ?? 0)) + 1n);
});
