import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { RootKeyRefused } from "#src/crypto/errors.ts";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { createTestDatabase, type TestDatabase } from "../../support/postgres.ts";
import { startService } from "../../support/service.ts";
import { startUpstream, type Upstream } from "../../support/upstream.ts";
import { fillVault, openVault, type Vault } from "../../support/vault.ts";
import { run } from "../../cli/patchbay.ts";
import { awsCredentials, startFakeAwsKms, type FakeAwsKms } from "./fake-aws-kms.ts";
import { startFakeVault, vaultError, type FakeVault } from "./fake-vault.ts";
import { open } from "./support.ts";

const awsEnv = {
  AWS_ACCESS_KEY_ID: awsCredentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: awsCredentials.secretAccessKey,
  ...{ AWS_CONFIG_FILE: "/dev/null", AWS_SHARED_CREDENTIALS_FILE: "/dev/null" },
  AWS_EC2_METADATA_DISABLED: "true",
};
let postgres: TestDatabase;
let upstream: Upstream;
let kms: FakeAwsKms;
let vault: FakeVault;
let vaultToken: string;
beforeAll(async () => {
  postgres = await createTestDatabase();
  upstream = await startUpstream();
  kms = await startFakeAwsKms();
  vault = await startFakeVault();
  vault.newKey("transit/patchbay");
  vaultToken = vault.newToken("service", { seconds: 3600, renewable: true });
  for (const [name, value] of Object.entries(awsEnv)) vi.stubEnv(name, value);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  for (const one of [vault, kms, upstream, postgres]) await one[Symbol.asyncDispose]();
});

test("a root key moves from a file to one key management service, to another, and back, and nothing is lost", async () => {
  const file = newRootKeyText();
  const awsUrl = `awskms:///${kms.newKey("1234abcd-12ab-34cd-56ef-1234567890ab")}?endpoint=${kms.url}`;
  const vaultUrl = `vault+${vault.url}/transit/patchbay`;
  const aws = await open(awsUrl);
  const admin = (env: Record<string, string>, ...args: string[]) =>
    run(args, { env: { DATABASE_URL: postgres.url, VAULT_TOKEN: vaultToken, ...awsEnv, ...env } });

  // It knows the file's key and the first service, as all replicas do before the two change places.
  await using service = await startService({ postgres, rootKey: aws, secondRootKey: file });
  const { org } = service;
  const call = async () =>
    (await org.rest("POST", "/api/service-calls", { service: "custom:bank", method: "GET", path: "/" }))
      .status;
  await using before = openVault(postgres, file, aws);
  const early = await service.newOrganization("made with the file's key");
  await fillVault(before, early, upstream.url);
  await fillVault(before, org, upstream.url);
  const rewrapAll = async (vault: Vault) => {
    await vault.rewrapServiceKeys();
    for (const { orgId } of [org, early]) await vault.rewrapOrgKeys(orgId);
  };
  await rewrapAll(before);
  const secrets = await before.secretsOf(org.orgId);
  const wrappedBy = async () =>
    (await postgres.asOwner("select root_key_id as id from used_root_keys() order by id")).map(
      ({ id }) => id,
    );
  expect(await wrappedBy()).toStrictEqual([expect.stringMatching(/^local:/)]);

  await using first = openVault(postgres, aws, file);
  await rewrapAll(first);
  expect([await wrappedBy(), await call()]).toStrictEqual([[aws.id], 200]);

  const toVault = { PATCHBAY_ROOT_KEY_URL: vaultUrl, PATCHBAY_SECOND_ROOT_KEY_URL: awsUrl };
  kms.failWith((operation) =>
    operation === "Decrypt"
      ? { status: 400, body: JSON.stringify({ __type: "AccessDeniedException" }) }
      : undefined,
  );
  const refused = await admin(toVault, "doctor");
  expect(refused.stdout).toMatch(/^fail +sealing .*AccessDeniedException.*: allow kms:/m);
  kms.failWith(() => undefined);
  // One root key is away in the middle: what was done stays, and the rest follows.
  vault.failWith((path, tries) =>
    path === "transit/encrypt/patchbay" && tries > 1 ? vaultError(403, "permission denied") : undefined,
  );
  await using second = openVault(postgres, await open(vaultUrl, { vaultToken }), aws);
  await expect(rewrapAll(second)).rejects.toThrow(RootKeyRefused);
  expect(await wrappedBy()).toStrictEqual([aws.id, "vault:transit/patchbay"]);
  vault.failWith(() => undefined);
  expect((await admin(toVault, "admin", "rewrap-root")).stderr).toContain(`${aws.id} wraps nothing any more`);
  expect(await wrappedBy()).toStrictEqual(["vault:transit/patchbay"]);

  await using third = openVault(postgres, file, await open(vaultUrl, { vaultToken }));
  await rewrapAll(third);
  await using after = openVault(postgres, file);
  expect(await after.secretsOf(org.orgId)).toStrictEqual(secrets);
  expect(await call()).toBe(200);
});
