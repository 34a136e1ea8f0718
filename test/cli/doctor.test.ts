import { chmod, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { doctor } from "#src/cli/doctor/doctor.ts";
import { tamper } from "../audit/support.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { freePort } from "../support/ports.ts";
import { startService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";
import { run, temporaryFolder } from "./patchbay.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => void (folder = await temporaryFolder()));
afterAll(() => folder[Symbol.asyncDispose]());

test("before the first start, doctor makes nothing and finds nothing wrong", async () => {
  const { code, stdout } = await run(["doctor", "--data-dir", join(folder.path, "data")]);
  expect([code, stdout]).toStrictEqual([0, expect.stringMatching(/^(ok .*\n){6}$/)]);
  expect(stdout).toMatch(/^ok +database +none yet; the first start makes it in /m);
  expect(await readdir(folder.path)).toStrictEqual([]);
});

test("before the first start, doctor and the start say what to do about a user without a name", async ({
  skip,
}) => {
  skip(process.getuid?.() !== 0, "only root can start a program as another user");
  // As containers are run on some platforms: any uid, in root's group.
  const as = { uid: 12_345, gid: 0 };
  await chmod(folder.path, 0o777);
  const args = ["--data-dir", join(folder.path, "nameless"), "--port", "0"];
  const remedy =
    "the embedded Postgres cannot make its data folder as uid 12345, which has no name in /etc/passwd: start the " +
    "service as a user that has one, or add the line patchbay:x:12345:0::/:/sbin/nologin there for the first start, " +
    "or set DATABASE_URL";
  const looked = await run(["doctor", ...args], { as });
  expect(looked.stdout).toContain(`fail  database    ${remedy}\n`);
  expect(looked.code).toBe(1);
  const started = await run(["start", ...args], { as });
  expect([started.code, started.stderr]).toStrictEqual([1, `patchbay: ${remedy}\n`]);
});

test("on an external database, doctor applies no migration and says which are due", async () => {
  await using database = await createTestDatabase("empty");
  const file = join(folder.path, "root-key");
  await writeFile(file, Buffer.alloc(32, 1).toString("base64"));
  await chmod(file, 0o644);
  const env = { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY_FILE: file };
  const { code, stdout } = await run(["doctor"], { env });
  expect(stdout).toMatch(/^warn +root key .*: chmod 600 /m);
  expect(stdout).toMatch(/^ok +schema +the next start applies 0000_\w+, /m);
  expect(code).toBe(0);
  expect(await database.asOwner("select to_regclass('schema_migrations') as made")).toMatchObject([
    { made: null },
  ]);
});

test("doctor says which organisation's record was tampered with, if it was among the newest events", async () => {
  await using service = await startService();
  const other = await service.newOrganization("globex");
  const file = join(folder.path, "its-root-key");
  await writeFile(file, Buffer.alloc(32, 1).toString("base64"), { mode: 0o600 });
  const env = { DATABASE_URL: service.postgres.url, PATCHBAY_ROOT_KEY_FILE: file };
  const audit = async () => {
    const { code, stdout } = await run(["doctor"], { env });
    return [code, /^\w+ +audit .*$/m.exec(stdout)?.[0]];
  };
  const { orgId } = service.org;
  await service.postgres.asOwner(`select set_config('app.org_id', '${orgId}', false)`);
  await service.postgres.asOwner(
    "select audit_append('a', 't', null, null, null, '{}') from generate_series(3, 1500)",
  );
  const edit = (seq: number, id: string) =>
    `update audit_events set action = 'x' where org_id = '${id}' and seq = ${seq}`;
  await tamper(service.postgres, edit(400, orgId));
  expect((await audit())[1]).toMatch(
    /^ok .*the newest 1000 events of each organisation \(2\) are as recorded; /,
  );
  await tamper(service.postgres, edit(2, other.orgId));
  expect((await audit())[1]).toMatch(
    new RegExp(`^fail .*${other.orgId}, event 2: it was changed after .*; see `),
  );
  await tamper(service.postgres, `delete from audit_events where org_id = '${orgId}' and seq = 500`);
  expect(await audit()).toStrictEqual([
    1,
    expect.stringMatching(new RegExp(`${orgId}, event 500: it is missing`)),
  ]);
});

test("doctor says of each connection how far it comes, what is overdue, and what to do, and changes nothing", async () => {
  await using service = await startService({ outboundAllow: "127.0.0.1" });
  await using upstream = await startUpstream();
  const file = join(folder.path, "a-root-key");
  await writeFile(file, Buffer.alloc(32, 1).toString("base64"), { mode: 0o600 });
  const { client, apiKeyId } = service.org;
  const baseUrls = {
    "custom:good": upstream.url,
    "custom:refused": upstream.url,
    "custom:gone": `http://127.0.0.1:${await freePort()}`,
    "custom:nowhere": "https://nowhere.invalid",
  };
  for (const [serviceSlug, baseUrl] of Object.entries(baseUrls)) {
    await client.connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey: "a-credential" });
  }
  const asOwner = (sql: string) => service.postgres.asOwner(sql);
  await asOwner(`update connection_health set last_error = 'the service answered 401', last_error_stage = 'auth',
    last_error_at = now() where connection_id = (select id from connections where slug = 'custom:refused')`);
  const env = { DATABASE_URL: service.postgres.url, PATCHBAY_ROOT_KEY_FILE: file };
  const lines = async (name: string) => {
    const { stdout } = await run(["doctor"], { env });
    return stdout.split("\n").filter((line) => line.slice(6, 17).trim() === name);
  };
  const of = `of ${service.org.orgId}`;
  const before = await asOwner("select * from connection_health order by connection_id");
  expect(new Set(await lines("connections"))).toStrictEqual(
    new Set([
      expect.stringMatching(
        `^warn  connections custom:gone ${of}: TCP: .*; start the service, or open the way`,
      ),
      expect.stringMatching(`^warn  connections custom:nowhere ${of}: DNS: .*; correct the host`),
      `warn  connections custom:refused ${of}: auth: the service answered 401; store a credential that is good`,
      "warn  connections 1 of 4 are reached, and take their credential as far as the last probe says",
    ]),
  );
  expect(await asOwner("select * from connection_health order by connection_id")).toStrictEqual(before);
  expect(upstream.asked.map(({ headers }) => headers.authorization)).not.toContain("Bearer a-credential");
  await asOwner("update connection_health set next_due_at = now() - interval '10 minutes'");
  expect(await lines("probes")).toStrictEqual([
    expect.stringMatching(
      /^warn {2}probes {6}4 of 4 connections are overdue, the oldest by 60\d s: start the service; /,
    ),
  ]);
  expect(await lines("rotations")).toStrictEqual(["ok    rotations   no secret is older than 90 days"]);
  await asOwner("update api_key_secrets set created_at = now() - interval '100 days'");
  await asOwner("update connections set created_at = now() - interval '200 days'");
  // Stored in the last quarter, as their events say.
  expect(await lines("rotations")).toStrictEqual([
    `warn  rotations   key "admin" (${apiKeyId}) ${of} has a secret of 100 days: rotate it`,
  ]);
  await tamper(service.postgres, "update audit_events set at = at - interval '120 days'");
  expect(await lines("rotations")).toHaveLength(5);
  await client.connections.upsertServiceConnection({
    ...{ serviceSlug: "custom:good", baseUrl: upstream.url, apiKey: "another-credential" },
  });
  const old = await lines("rotations");
  expect(old.some((line) => line.includes("custom:gone"))).toBe(true);
  expect(old.some((line) => line.includes("custom:good"))).toBe(false);
});

test("a database that hangs while doctor looks holds it up for a while only, and is a failure", async () => {
  await using database = await createTestDatabase();
  await using proxy = await startProxy(database.url);
  vi.stubEnv("DATABASE_URL", proxy.url);
  vi.stubEnv("PATCHBAY_ROOT_KEY", Buffer.alloc(32, 1).toString("base64"));
  const lines: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((line) => {
    lines.push(String(line));
    if (String(line).startsWith("ok    audit")) proxy.blackHole();
    return true;
  });
  try {
    expect(await doctor({}, 1_000)).toBe(false);
  } finally {
    write.mockRestore();
    vi.unstubAllEnvs();
  }
  const silent = "the database answers no more: look at Postgres, its disk, and the way to it";
  expect(lines.slice(-3)).toStrictEqual([
    `fail  probes      ${silent}\n`,
    `fail  connections ${silent}\n`,
    `fail  rotations   ${silent}\n`,
  ]);
});

test("doctor goes on after what it finds, says what to do, and ends with 1", async () => {
  const env = {
    DATABASE_URL: "postgres://me:canary@127.0.0.1:1/patchbay",
    PATCHBAY_HOST: "0.0.0.0",
    PATCHBAY_TLS_CERT: "/nowhere",
    PATCHBAY_TLS_KEY: "/nowhere",
  };
  const { code, stdout } = await run(["doctor"], { env });
  expect(stdout).toMatch(
    /^ok +outbound +public addresses only; .*set --outbound-allow \(PATCHBAY_OUTBOUND_ALLOW\)$/m,
  );
  expect(stdout).toMatch(/^fail +tls +--tls-cert \(PATCHBAY_TLS_CERT\): \/nowhere cannot be read/m);
  expect(stdout).toMatch(/^fail +root key +--root-key-file \(PATCHBAY_ROOT_KEY_FILE\): is needed/m);
  expect(stdout).toMatch(/^fail +database +DATABASE_URL: cannot connect/m);
  expect([code, stdout]).toStrictEqual([1, expect.not.stringContaining("canary")]);
});

test("a flag that there is not ends with 1 and the one that was meant", async () => {
  const { code, stderr } = await run(["start", "--prot", "1"]);
  expect([code, stderr]).toStrictEqual([1, "error: unknown option '--prot'\n(Did you mean --port?)\n"]);
});
