import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openRootKey } from "#src/cli/root-key.ts";
import { reasonOf } from "#src/client/node.ts";
import { readConfig } from "#src/config/config.ts";
import { run } from "../../cli/patchbay.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { startService } from "../../support/service.ts";
import { startUpstream } from "../../support/upstream.ts";
import { startFakeVault, vaultError, type FakeVault } from "./fake-vault.ts";
import { open } from "./support.ts";

let vault: FakeVault;
let vaultToken: string;
const url = () => `vault+${vault.url}/transit/patchbay`;

beforeAll(async () => {
  vault = await startFakeVault();
  vault.newKey("transit/patchbay");
  vaultToken = vault.newToken("service", { seconds: 3600, renewable: true });
});
afterAll(() => vault[Symbol.asyncDispose]());
beforeEach(() => vault.failWith(() => undefined));

test("callers learn whether to try again, operators what to change, and neither learns of the other", async () => {
  await using postgres = await createTestDatabase();
  await using upstream = await startUpstream();
  const replica = async () => startService({ postgres, rootKey: await open(url(), { vaultToken }) });
  await using first = await replica();
  const { client } = first.org;
  await client.connections.upsertServiceConnection({
    serviceSlug: "custom:bank",
    baseUrl: upstream.url,
    apiKey: "k",
  });
  // Others have to unwrap the key that this one has.
  await using second = await replica();
  const caller = second.as(first.org.secret);
  const call = () =>
    caller.rest("POST", "/api/service-calls", { service: "custom:bank", method: "GET", path: "/" });
  const other = await second.newOrganization("globex");

  vault.failWith((path) => (path.startsWith("transit/") ? vaultError(403, "permission denied") : undefined));
  const refused = await call();
  expect([refused.status, refused.body.error]).toStrictEqual([
    503,
    "the root key may not be used, so no credential can be sealed or opened, and nothing was done: " +
      "whoever runs this deployment finds in its log what must be changed",
  ]);
  expect(second.logged()).toContain("let the policy of the token update encrypt/KEY and decrypt/KEY");

  vault.failWith(() => vaultError(503, "Vault is sealed"));
  const storing = other.client.connections.upsertServiceConnection({
    serviceSlug: "custom:bank",
    baseUrl: upstream.url,
    apiKey: "k",
  });
  const failure: unknown = await storing.catch((error: unknown) => error);
  expect(reasonOf(failure)).toBe("ROOT_KEY_UNAVAILABLE");
  expect(String(failure)).toMatch(/the root key cannot be reached, .*: try again in a moment$/);
  expect(second.logged()).toContain("unseal it");
  for (const text of [JSON.stringify(refused.body), String(failure)])
    expect(text).not.toMatch(/vault|127\.0\.0\.1/i);
  expect(second.logged()).not.toMatch(/canary|fault of ours/);

  vault.failWith(() => undefined);
  await expect.poll(async () => (await call()).status, { timeout: 50_000 }).toBe(200);

  vault.newKey("transit/another");
  const another = await open(`vault+${vault.url}/transit/another`, { vaultToken });
  await expect(startService({ postgres, rootKey: another })).rejects.toThrow(
    /^the root key \(vault:transit\/another\) does not open this database, which needs vault:transit\/patchbay; set .*_URL to/,
  );
});

test("that the root key is asked at an address lets no connection call there", async () => {
  const rootKey = await open(url(), { vaultToken });
  await using service = await startService({ rootKey, outboundAllow: "" });
  await rootKey.unwrap(await rootKey.wrap(Buffer.alloc(32), ["kek", "org_1", "1"]), ["kek", "org_1", "1"]);
  const storing = service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:vault",
    baseUrl: vault.url,
    apiKey: vaultToken,
  });
  expect(await storing.then(() => "stored", reasonOf)).toBe("ADDRESS_DENIED");
});

test("a start that would bind no key to its organisation stops, and names the setting", async () => {
  const config = readConfig(
    { rootKeyUrl: url() },
    { VAULT_TOKEN: vaultToken, DATABASE_URL: "postgres://me@host/db" },
  );
  const log = pino({ level: "silent" });
  expect(await openRootKey(config, log)).toMatchObject({
    created: false,
    rootKey: { id: "vault:transit/patchbay" },
  });
  vault.knowsAssociatedData = false;
  const opening = openRootKey(config, log).finally(() => (vault.knowsAssociatedData = true));
  await expect(opening).rejects.toThrow(
    /^--root-key-url \(PATCHBAY_ROOT_KEY_URL\): the root key vault:transit\/patchbay unwraps what was wrapped for another record/,
  );
});

test("commands open the root key of the URL and end, and doctor says whether it can be used", async () => {
  await using database = await createTestDatabase("empty");
  const env = { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY_URL: url(), VAULT_TOKEN: vaultToken };
  const created = await run(["org", "create", "acme"], { env });
  expect([created.code, created.stdout]).toStrictEqual([0, expect.stringMatching(/^qe_sk_/)]);
  const [stored] = await database.asOwner("select root_key_id from org_keys");
  expect(stored).toStrictEqual({ root_key_id: "vault:transit/patchbay" });

  const healthy = await run(["doctor"], { env });
  expect(healthy.stdout).toMatch(/^ok +root key +vault:transit\/patchbay wraps and unwraps$/m);
  expect(healthy.stdout).toMatch(/^ok +sealing +the root key opens what is stored$/m);

  const without = await run(["doctor"], { env: { ...env, VAULT_TOKEN: "canary-wrong" } });
  expect([without.code, without.stdout]).toStrictEqual([
    1,
    expect.stringMatching(
      /^fail +root key +--root-key-url \(PATCHBAY_ROOT_KEY_URL\): Vault refuses transit\/patchbay with status 403: let the/m,
    ),
  ]);

  expect(without.stdout + without.stderr).not.toContain("canary");
});
