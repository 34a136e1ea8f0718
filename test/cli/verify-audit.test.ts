import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tamper } from "../audit/support.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService } from "../support/service.ts";
import { run, temporaryFolder } from "./patchbay.ts";

const verify = (url: string, ...args: string[]) =>
  run(["audit", "verify", ...args], { env: { DATABASE_URL: url } });

test("audit verify goes through all organisations, also those of which only the record is left, and ends with 1 after a fault", async () => {
  await using service = await startService();
  const { postgres, org } = service;
  const tampered = await service.newOrganization("globex");
  await service.newOrganization("initech");
  const orgIds = [org.orgId, tampered.orgId].toSorted();
  const left = "org_0_left";
  await postgres.asOwner(`select set_config('app.org_id', '${left}', false)`);
  await postgres.asOwner("select audit_append('a', 't', null, null, null, '{}')");

  expect(await verify(postgres.url)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^(ok {5}org_\S+ {2}[12] events, head [12]:[0-9a-f]{64}\n){4}$/),
    stderr: "",
  });

  await tamper(
    postgres,
    `update audit_events set target = 'x' where org_id = '${tampered.orgId}' and seq = 2`,
  );
  const { code, stdout } = await verify(postgres.url);
  const lines = stdout.split("\n").filter((line) => !line.startsWith("ok   "));
  expect([code, lines]).toStrictEqual([
    1,
    [`FAULT  ${tampered.orgId}  event 2: it was changed after it was recorded`, ""],
  ]);
  expect(stdout).toMatch(new RegExp(`^ok     ${left}  1 events`, "m"));
  expect(stdout.match(/org_\S+/g)).toStrictEqual(expect.arrayContaining([left, ...orgIds]));
});

test("audit verify says what is wrong with what it was given, and ends with 1", async () => {
  await using service = await startService();
  await service.newOrganization("globex");
  const { url } = service.postgres;
  const hash = "0".repeat(64);
  for (const [args, problem] of [
    [["--head", "5"], /^patchbay: --head: give a number, a colon and 64 hexadecimal digits, as /],
    [["--head", `5:${hash}`], /^patchbay: --head: say with --org whose it is; there are org_\S+, org_\S+\n$/],
    [["--org", "org_x"], /^patchbay: --org: there is no org_x\n$/],
  ] as const) {
    expect(await verify(url, ...args)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(problem),
    });
  }
});

test("audit verify neither makes nor migrates a database", async () => {
  await using folder = await temporaryFolder();
  const missing = await run(["audit", "verify", "--data-dir", join(folder.path, "data")]);
  expect([missing.code, missing.stderr]).toStrictEqual([
    1,
    expect.stringMatching(/^patchbay: there is no data in \S+: name its folder with --data-dir\n$/),
  ]);
  expect(await readdir(folder.path)).toStrictEqual([]);

  await using database = await createTestDatabase("empty");
  const unmigrated = await verify(database.url);
  expect([unmigrated.code, unmigrated.stderr]).toStrictEqual([
    1,
    expect.stringMatching(/^patchbay: the database lacks 0000_\w+, .*: start the service once\n$/),
  ]);
  expect(await database.asOwner("select to_regclass('schema_migrations') as made")).toMatchObject([
    { made: null },
  ]);
});
