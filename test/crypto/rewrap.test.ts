import { expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import { firstPlace, lockSealedRows } from "#src/crypto/sealed-column.ts";
import { sealedColumns } from "#src/sealed-columns.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Tenant } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";
import { fillVault, openVault } from "../support/vault.ts";

const call = ({ client }: Pick<Tenant, "client">) =>
  client.connections.callService({ service: "custom:bank", method: "GET", path: "/" });

test("one root key takes the place of another while calls are made, and the first one may go", async () => {
  await using postgres = await createTestDatabase();
  await using upstream = await startUpstream();
  const [old, fresh] = [newRootKeyText(), newRootKeyText()];
  // As in a rolling restart: first every replica gets to know the new one, then it becomes the first.
  await using before = await startService({ postgres, rootKey: old, secondRootKey: fresh });
  const { org } = before;
  await using oldVault = openVault(postgres, old, fresh);
  await fillVault(oldVault, org, upstream.url);
  const secrets = await oldVault.secretsOf(org.orgId);
  await using between = await startService({ postgres, rootKey: fresh, secondRootKey: old });
  const made = await between.newOrganization("made by the new one");
  await fillVault(oldVault, made, upstream.url);
  await call({ client: before.as(made.secret).client });
  await call({ client: between.as(org.secret).client });

  await using vault = openVault(postgres, fresh, old);
  let isOver = false;
  const calling = [before, between].map(async (one) => {
    while (!isOver) await call({ client: one.as(org.secret).client });
  });
  try {
    await expect(vault.rewrapOrgKeys(org.orgId)).resolves.toStrictEqual([1]);
    await expect(vault.rewrapOrgKeys(made.orgId)).resolves.toStrictEqual([]);
    await expect(vault.rewrapServiceKeys()).resolves.toContain("pepper 1");
  } finally {
    isOver = true;
    await Promise.all(calling);
  }

  const [used] = await postgres.asOwner("select count(*)::integer as n from used_root_keys()");
  expect(used).toStrictEqual({ n: 1 });
  await using after = await startService({ postgres, rootKey: fresh });
  for (const one of [org, made]) await call({ client: after.as(one.secret).client });
  await using alone = openVault(postgres, fresh);
  expect(await alone.secretsOf(org.orgId)).toStrictEqual(secrets);
  // Again is of no effect.
  await expect(vault.rewrapOrgKeys(org.orgId)).resolves.toStrictEqual([]);
  await expect(vault.rewrapServiceKeys()).resolves.toStrictEqual([]);
  const { events } = await after.as(org.secret).client.audit.listAuditEvents({});
  expect(events.filter(({ action }) => action === "organization.rewrap_key")).toHaveLength(1);
});

test("a start without a root key that is still needed stops, and names the key and what to do", async () => {
  await using postgres = await createTestDatabase();
  const [old, fresh] = [newRootKeyText(), newRootKeyText()];
  await using service = await startService({ postgres, rootKey: old });
  await using vault = openVault(postgres, fresh, old);
  // The run stopped in the middle: the deployment's own keys are wrapped anew, and the organisation's are not.
  await vault.rewrapServiceKeys();
  const needed =
    /wrapped by the root key local:[0-9a-f]{16}, and configured is local:.*PATCHBAY_SECOND_ROOT_KEY/;
  await expect(startService({ postgres, rootKey: fresh })).rejects.toThrow(needed);
  await vault.rewrapOrgKeys(service.org.orgId);
  await using after = await startService({ postgres, rootKey: fresh });
  expect(after.org.orgId).not.toBe(service.org.orgId);
});

test("a key that is destroyed, or wrapped anew by another process, meanwhile is not put back", async () => {
  await using postgres = await createTestDatabase();
  const [old, fresh] = [newRootKeyText(), newRootKeyText()];
  await using service = await startService({ postgres, rootKey: old });
  const { orgId } = service.org;
  await using one = openVault(postgres, fresh, old);
  await using other = openVault(postgres, fresh, old);
  const both = await Promise.all([one, other].map((vault) => vault.rewrapOrgKeys(orgId)));
  expect(both.flat()).toStrictEqual([1]);

  const [known] = await postgres.asOwner("select wrapped_key from org_keys where org_id = $1", [orgId]);
  await postgres.asOwner("update org_keys set wrapped_key = null where org_id = $1", [orgId]);
  await postgres.asOwner("select set_config('app.org_id', $1, false)", [orgId]);
  const [put] = await postgres.asOwner("select rewrap_org_key(1, $1, $1, 'x') as put", [
    known!["wrapped_key"],
  ]);
  expect(put).toStrictEqual({ put: false });
  const [left] = await postgres.asOwner("select wrapped_key from org_keys where org_id = $1", [orgId]);
  expect(left).toStrictEqual({ wrapped_key: null });
});

test("a call that has read a key opens what it read, though the key is wrapped anew and destroyed meanwhile", async () => {
  await using postgres = await createTestDatabase();
  await using upstream = await startUpstream();
  const [old, fresh] = [newRootKeyText(), newRootKeyText()];
  await using service = await startService({ postgres, rootKey: old });
  const { orgId } = service.org;
  await using vault = openVault(postgres, fresh, old);
  await fillVault(vault, service.org, upstream.url);
  const wanted = { orgId, beforeVersion: 2, after: firstPlace, limit: 1, waits: true };
  const [row] = await vault.database.record(orgId, (tx) => lockSealedRows(tx, sealedColumns[0]!, wanted));
  const wrapped = await vault.database.read(orgId, (tx) => wrappedKeyOf(tx, orgId, 1));

  await vault.rewrapOrgKeys(orgId);
  await vault.rotation.start(orgId);
  await expect(vault.rotation.finish(orgId)).resolves.toMatchObject({ destroyed: [1] });
  // A replica that has asked for nothing yet.
  await using replica = openVault(postgres, fresh, old);
  const { owner, kekVersion, bytes } = row!;
  using secret = await replica.keyring.open(owner, { kekVersion, bytes }, wrapped);
  expect(secret.reveal().toString()).toBe("second");
});
