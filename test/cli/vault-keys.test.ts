import { afterAll, beforeAll, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { fillVault, openVault } from "../support/vault.ts";
import { run } from "./patchbay.ts";

const [old, fresh] = [newRootKeyText(), newRootKeyText()];
let postgres: TestDatabase;
let service: TestService;
let upstream: Upstream;
beforeAll(async () => {
  postgres = await createTestDatabase();
  service = await startService({ postgres, rootKey: old, secondRootKey: fresh });
  upstream = await startUpstream();
  await using vault = openVault(postgres, old);
  await fillVault(vault, service.org, upstream.url);
});
afterAll(async () => {
  for (const one of [upstream, service, postgres]) await one[Symbol.asyncDispose]();
});

const admin = (args: readonly string[], env: Record<string, string> = { PATCHBAY_ROOT_KEY: old }) =>
  run(["admin", ...args], { env: { DATABASE_URL: postgres.url, ...env } });

const call = async () =>
  (await service.org.rest("POST", "/api/service-calls", { service: "custom:bank", method: "GET", path: "/" }))
    .status;

test("rotate-kek replaces the key of an organisation, or of all, beside a running service", async () => {
  const { orgId } = service.org;
  expect(await admin(["rotate-kek", "--org", orgId])).toMatchObject({
    ...{ code: 0, stderr: "" },
    stdout: `${orgId}  key 2, 8 secrets sealed anew, key 1 destroyed\n`,
  });
  expect(await call()).toBe(200);
  const other = await service.newOrganization("globex");
  const all = await admin(["rotate-kek", "--all"]);
  expect([all.code, all.stdout.split("\n").toSorted()]).toStrictEqual([
    0,
    [
      "",
      `${orgId}  key 3, 8 secrets sealed anew, key 2 destroyed`,
      `${other.orgId}  key 2, 0 secrets sealed anew, key 1 destroyed`,
    ].toSorted(),
  ]);
  expect(await call()).toBe(200);
  for (const [args, problem] of [
    [[], /^patchbay: --org: needed; give one of\n/],
    [["--org", "org_x"], /^patchbay: --org: there is no org_x; give one of\n/],
    [["--all", "--org", orgId], /^patchbay: --all: give it or --org, not both\n$/],
  ] as const) {
    const refused = await admin(["rotate-kek", ...args]);
    expect([refused.code, refused.stdout, refused.stderr]).toStrictEqual([
      1,
      "",
      expect.stringMatching(problem),
    ]);
  }
});

test("rewrap-root wraps all keys with the first root key, and says when the second one may go", async () => {
  const needed = await admin(["rewrap-root"], { PATCHBAY_ROOT_KEY: fresh });
  expect([needed.code, needed.stderr]).toStrictEqual([
    1,
    expect.stringMatching(
      /^patchbay: a key is wrapped by the root key local:\w+, .*PATCHBAY_SECOND_ROOT_KEY/,
    ),
  ]);
  const both = { PATCHBAY_ROOT_KEY: fresh, PATCHBAY_SECOND_ROOT_KEY: old };
  const done = await admin(["rewrap-root"], both);
  expect(done).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^(\d+) keys wrapped anew\nlocal:[0-9a-f]{16} {2}wraps \1 keys\n$/),
    stderr: expect.stringMatching(/^local:[0-9a-f]{16} wraps nothing any more: take it out of the settings/),
  });
  expect(await call()).toBe(200);
  expect((await admin(["rewrap-root"], both)).stdout).toMatch(/^0 keys wrapped anew\n/);
  const alone = await admin(["rotate-kek", "--org", service.org.orgId], { PATCHBAY_ROOT_KEY: fresh });
  expect(alone.stderr + alone.stdout).toMatch(/key 4, 8 secrets sealed anew, key 3 destroyed\n$/);
});

test("shred wants the id again, needs no root key, and says what it does not reach", async () => {
  const org = await service.newOrganization("goes");
  const asked = await admin(["shred", org.orgId], {});
  expect(asked).toMatchObject({
    ...{ code: 1, stdout: "" },
    stderr: expect.stringMatching(
      new RegExp(`^patchbay: this makes all that "goes" .* for good: .* add --confirm ${org.orgId}\n$`),
    ),
  });
  expect((await admin(["shred", org.orgId, "--confirm", service.org.orgId], {})).code).toBe(1);
  expect((await org.rest("GET", "/api/auth/me")).status).toBe(200);
  expect(await admin(["shred", org.orgId, "--confirm", org.orgId], {})).toMatchObject({
    ...{ code: 0, stdout: `${org.orgId}  shredded\n` },
    stderr: expect.stringMatching(/^Backups from before still hold its keys/),
  });
  await expect
    .poll(async () => (await org.rest("GET", "/api/auth/me")).status, { timeout: 20_000 })
    .toBe(401);
  expect((await admin(["shred", org.orgId], {})).stdout).toBe(`${org.orgId}  was shredded before\n`);
  const unknown = await admin(["shred", "org_x", "--confirm", "org_x"], {});
  expect([unknown.code, unknown.stderr]).toStrictEqual([1, "patchbay: there is no organisation org_x\n"]);
  expect(await call()).toBe(200);
});

test("a key that was changed in the database is named, and keeps no other organisation from a new one", async () => {
  const made = [];
  for (const name of ["first", "second", "third"]) made.push(await service.newOrganization(name));
  const [, damaged] = made.map(({ orgId }) => orgId).toSorted();
  await postgres.asOwner("update org_keys set wrapped_key = $2 where org_id = $1", [
    damaged,
    Buffer.alloc(61, 1),
  ]);
  const both = { PATCHBAY_ROOT_KEY: fresh, PATCHBAY_SECOND_ROOT_KEY: old };
  const rewrapped = await admin(["rewrap-root"], both);
  const problem = `${damaged}  a wrapped key of it does not open, as it was changed in the database: `;
  expect([rewrapped.code, rewrapped.stderr]).toStrictEqual([1, expect.stringContaining(problem)]);
  expect(rewrapped.stdout).toMatch(
    /^2 keys wrapped anew\nlocal:\w+ {2}wraps \d+ keys\nlocal:\w+ {2}wraps \d+ keys\n$/,
  );
  const rotated = await admin(["rotate-kek", "--all"], both);
  expect([rotated.code, rotated.stderr]).toStrictEqual([1, expect.stringContaining(problem)]);
  for (const { orgId } of made) {
    const isNew = rotated.stdout.includes(`${orgId}  key 2, 0 secrets sealed anew, key 1 destroyed\n`);
    expect(isNew).toBe(orgId !== damaged);
  }
});
