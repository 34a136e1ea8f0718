import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync } from "node:fs";
import { copyFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { backUp } from "#src/cli/backup.ts";
import { restore } from "#src/cli/restore.ts";
import { readConfig } from "#src/config/config.ts";
import { frame, framesOf, jsonFrame } from "#src/db/backup/frames.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { tamper } from "../audit/support.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { presenter, startService, type Presenter, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { run, temporaryFolder } from "./patchbay.ts";

const rootKey = newRootKeyText();
const bankKey = "the-banks-own-key";
const serviceSlug = "custom:bank";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let bank: Upstream;
let service: TestService;
let file: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  bank = await startUpstream();
  service = await startService({ rootKey });
  const connection = { serviceSlug, baseUrl: bank.url, apiKey: bankKey };
  await service.org.client.connections.upsertServiceConnection(connection);
  file = join(folder.path, "monday.patchbay");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await bank[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const configOf = (databaseUrl: string, key = rootKey) =>
  readConfig({}, { DATABASE_URL: databaseUrl, PATCHBAY_ROOT_KEY: key });
const cli = (args: readonly string[], databaseUrl: string) =>
  run(args, { env: { DATABASE_URL: databaseUrl, PATCHBAY_ROOT_KEY: rootKey } });

test("a backup that is taken while the service runs is restored with one command, and serves the same keys and credentials", async () => {
  const { url } = service.postgres;
  const taken = await cli(["backup", file], url);
  expect(taken).toMatchObject({ code: 0, stderr: "" });
  expect(taken.stdout).toMatch(
    /^\S+: \d+ rows of \d+ tables, \d+ bytes\nThe root key \(local:\w{16}\) is not in it/,
  );
  expect(((await stat(file)).mode & 0o777).toString(8)).toBe("600");
  expect(await readdir(folder.path)).toStrictEqual(["monday.patchbay"]);

  expect(await cli(["restore", "--check", file], url)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^whole +yes$/m),
    stderr: "",
  });

  await using database = await createTestDatabase("empty");
  const restored = await cli(["restore", file], database.url);
  expect(restored).toMatchObject({ code: 0, stderr: "" });
  expect(restored.stdout).toMatch(/^audit +\d+ events are as they were recorded$/m);
  await using again = await startService({ postgres: database, rootKey });
  const { client } = presenter(again.url, service.org.secret);
  await client.connections.callAction({ actionIdentifier: `${serviceSlug}/GET /accounts` });
  expect(bank.asked.at(-1)?.headers["authorization"]).toBe(`Bearer ${bankKey}`);
  const { events } = await client.audit.listAuditEvents({});
  expect(events[0]).toMatchObject({ action: "backup.restore", target: service.org.orgId });
});

test("no secret stands in a backup, neither as it is nor encoded", async () => {
  const plain = execFileSync("gunzip", ["-c"], { input: await readFile(file) });
  for (const secret of [bankKey, service.org.secret, rootKey, service.org.secret.slice(6)]) {
    for (const encoding of ["utf8", "base64", "hex"] as const) {
      expect(plain.includes(Buffer.from(secret).toString(encoding).replace(/=*$/, ""))).toBe(false);
    }
  }
  expect(plain.includes(Buffer.from(rootKey, "base64"))).toBe(false);
});

test("a backup does not take the place of another one, and leaves nothing of itself when it fails", async () => {
  const before = await readFile(file);
  await expect(backUp(configOf(service.postgres.url), file)).rejects.toThrow("is there already");
  expect(await readFile(file)).toStrictEqual(before);
  await using empty = await createTestDatabase("empty");
  const nothing = join(folder.path, "nothing");
  await expect(backUp(configOf(empty.url), nothing)).rejects.toThrow("there is nothing to back up yet");
  const nowhere = join(folder.path, "nowhere", "file");
  await expect(backUp(configOf(service.postgres.url), nowhere)).rejects.toThrow(
    /nowhere\/file cannot be written \(ENOENT\)/,
  );
  const other = backUp(configOf(service.postgres.url, newRootKeyText()), nothing);
  await expect(other).rejects.toThrow(
    /the root key \(local:\w+\) does not open this database, which needs local:/,
  );
  expect(await readdir(folder.path)).toStrictEqual(["monday.patchbay"]);
});

describe("a file is refused before anything is restored", () => {
  test.each<[string, string, (whole: Buffer) => Buffer]>([
    ["that was cut", "ends in the middle", (whole) => whole.subarray(0, -100)],
    ["of which only the beginning is there", "ends in the middle", (whole) => whole.subarray(0, 10)],
    ["with one flipped bit", "damaged", (whole) => whole.fill((whole[700] ?? 0) ^ 4, 700, 701)],
    ["that is no backup", "cannot be decompressed", () => Buffer.from("a text of someone else")],
    ["that is empty", "damaged or cut", () => Buffer.alloc(0)],
  ])("%s", async (_, says, damage) => {
    const damaged = join(folder.path, "damaged");
    await writeFile(damaged, damage(await readFile(file)));
    await using database = await createTestDatabase("empty");
    await expect(restore(configOf(database.url), damaged)).rejects.toThrow(says);
    expect(await database.asOwner("select to_regclass('orgs') as made")).toEqual([{ made: null }]);
  });

  test("that needs another root key, which it names", async () => {
    await using database = await createTestDatabase("empty");
    const attempt = restore(configOf(database.url, newRootKeyText()), file);
    await expect(attempt).rejects.toThrow(/does not open this backup, which needs local:\w{16}/);
  });
});

/** The backup, changed by someone who made all its sums fit, but has no root key. */
async function forge(): Promise<string> {
  const plain = execFileSync("gunzip", ["-c"], { input: await readFile(file) });
  const frames = await Array.fromAsync(framesOf(Readable.from([plain])));
  const [end] = frames.slice(-1).map(({ body }) => JSON.parse(body.toString()) as { seal: string });
  const [manifest, ...rest] = frames.slice(0, -1);
  const body = Buffer.from(String(manifest?.body).replace(/"madeAt":"20\d\d/, '"madeAt":"1999'));
  const altered = Buffer.concat(
    [{ kind: "M", body } as const, ...rest].map((one) => frame(one.kind, one.body)),
  );
  const sha256 = createHash("sha256").update(altered).digest("hex");
  const forged = join(folder.path, "forged");
  await writeFile(forged, gzipSync(Buffer.concat([altered, jsonFrame("Z", { ...end, sha256 })])));
  return forged;
}

test("a backup that was changed by someone who made all its sums fit, but has no root key, is refused", async () => {
  const forged = await forge();
  await using database = await createTestDatabase("empty");
  await expect(restore(configOf(database.url), forged)).rejects.toThrow("someone may have changed it");
});

test("a backup that is exchanged once it was checked is refused, and none of its rows are kept", async () => {
  const forged = await forge();
  const exchanged = join(folder.path, "exchanged");
  await copyFile(file, exchanged);
  await using database = await createTestDatabase("empty");
  // Not before the file was checked is the database asked.
  await using proxy = await startProxy(database.url, () => copyFileSync(forged, exchanged));
  await expect(restore(configOf(proxy.url), exchanged)).rejects.toThrow("someone may have changed it");
  expect(await database.asOwner("select from orgs")).toHaveLength(0);
});

test("a backup that was taken while one root key takes the place of another needs the key that sealed it, and says what else it needs", async () => {
  const secondRootKey = newRootKeyText();
  await using between = await startService({ rootKey });
  const { id } = localRootKey(secondRootKey);
  await between.postgres.asOwner("update org_keys set root_key_id = $1", [id]);
  const both = join(folder.path, "both");
  await backUp(configOf(between.postgres.url), both);
  const check = (env: Record<string, string>) => run(["restore", "--check", both], { env });
  const other = await check({ PATCHBAY_ROOT_KEY: secondRootKey });
  expect(other.stderr).toMatch(
    /the root key \(local:\w{16}\) does not open this backup, which needs local:\w{16}, local:/,
  );
  const swapped = await check({ PATCHBAY_ROOT_KEY: secondRootKey, PATCHBAY_SECOND_ROOT_KEY: rootKey });
  expect(swapped).toMatchObject({ code: 0, stdout: expect.stringMatching(/, and the seal is right$/m) });
  const one = await check({ PATCHBAY_ROOT_KEY: rootKey });
  expect(one.stdout).toContain(`, and the seal is right; the service also needs ${id}\n`);

  await using database = await createTestDatabase("empty");
  const env = {
    DATABASE_URL: database.url,
    PATCHBAY_ROOT_KEY: secondRootKey,
    PATCHBAY_SECOND_ROOT_KEY: rootKey,
  };
  expect(await run(["restore", both], { env })).toMatchObject({ code: 0, stderr: "" });
});

test("what was numbered goes on after a restore: events of a channel, the audit log, and changes of connections", async () => {
  const { client } = service.org;
  const webhook = { case: "webhook", value: {} } as const;
  const { channel } = await client.channels.createChannel({ name: "orders", source: webhook });
  const id = String(channel?.id);
  const { seq } = await client.channels.testChannel({ id });
  const [{ position } = {}] = await watched(client, {});
  const { verifiedEvents } = await client.audit.verifyAudit({});
  const taken = join(folder.path, "numbered");
  await backUp(configOf(service.postgres.url), taken);

  await using database = await createTestDatabase("empty");
  await restore(configOf(database.url), taken);
  await using again = await startService({ postgres: database, rootKey });
  const restored = presenter(again.url, service.org.secret).client;
  expect(await restored.channels.testChannel({ id })).toMatchObject({ seq: seq + 1n });
  const later = { serviceSlug: "custom:later", baseUrl: bank.url, apiKey: bankKey };
  await restored.connections.upsertServiceConnection(later);
  const messages = await watched(restored, { position: String(position) });
  expect(messages.map(({ reset }) => reset)).not.toContain(true);
  expect(messages.flatMap(({ connections }) => connections.map((one) => one.serviceSlug))).toStrictEqual([
    "custom:later",
  ]);
  // The restore, the test and the connection.
  const after = await restored.audit.verifyAudit({});
  expect(after).toMatchObject({ valid: true, verifiedEvents: verifiedEvents + 3n });
});

/** What a watch from the position sends until it knows all that there is. */
async function watched(client: Presenter["client"], from: { position?: string }) {
  const messages = [];
  for await (const message of client.connections.watchConnections(from)) {
    messages.push(message);
    if (message.current) break;
  }
  return messages.toReversed();
}

test("a backup of a record that was tampered with is not accepted", async () => {
  await using broken = await startService({ rootKey });
  await tamper(broken.postgres, "update audit_events set action = 'another' where seq = 1");
  const tampered = join(folder.path, "tampered");
  await cli(["backup", tampered], broken.postgres.url);
  await using database = await createTestDatabase("empty");
  await expect(restore(configOf(database.url), tampered)).rejects.toThrow(
    /is not as it was recorded \(event 1: /,
  );
});
