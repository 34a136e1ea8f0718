import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { openConnection } from "#src/db/connection.ts";
import { fillEveryTable } from "../support/every-table.ts";
import { untilOneWaits } from "../support/locks.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { blockNotifications } from "../support/replicas.ts";
import { startService, type Tenant, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { fillVault, openVault, versionsOf, type Vault } from "../support/vault.ts";

const rootKey = newRootKeyText();
let postgres: TestDatabase;
let service: TestService;
let replica: TestService;
let upstream: Upstream;
let vault: Vault;
beforeAll(async () => {
  postgres = await createTestDatabase();
  service = await startService({ postgres, rootKey });
  replica = await startService({ postgres, rootKey });
  upstream = await startUpstream();
  vault = openVault(postgres, rootKey);
});
afterAll(async () => {
  for (const one of [vault, upstream, replica, service, postgres]) await one[Symbol.asyncDispose]();
});

const shred = async (orgId: string) =>
  (await postgres.asOwner("select shred_organization($1, '{}') as shredded", [orgId]))[0];

const use = (one: TestService, { secret }: Tenant) =>
  one.as(secret).rest("POST", "/api/service-calls", { service: "custom:bank", method: "GET", path: "/" });

describe("an organisation that was shredded", () => {
  test("is refused on every replica, like one that never existed, and what it stored opens nowhere", async () => {
    const org = await service.newOrganization("goes");
    await fillVault(vault, org, upstream.url);
    const made = await org.rest("POST", "/api/event-channels", {
      name: "GitHub",
      webhook: { preset: "github" },
    });
    const { url } = made.body.data;
    const send = () => fetch(url, { method: "POST", body: "{}", headers: { "x-github-event": "push" } });
    const unsigned = await send();
    const stays = await service.newOrganization("stays");
    await fillVault(vault, stays, upstream.url);
    const kept = await vault.secretsOf(stays.orgId);
    // All of it is remembered, on both.
    for (const one of [service, replica]) expect((await use(one, org)).status).toBe(200);
    const log = service.watchLog();

    expect(await shred(org.orgId)).toStrictEqual({ shredded: true });
    const unknown = await replica.as(`${org.secret.slice(0, -1)}x`).rest("GET", "/api/auth/me");
    for (const one of [service, replica]) {
      // Their clocks stand still: they have heard of it.
      await expect.poll(async () => (await use(one, org)).status, { timeout: 20_000 }).toBe(401);
      const refused = await one.as(org.secret).rest("GET", "/api/auth/me");
      expect(refused.body).toStrictEqual(unknown.body);
    }
    await expect(vault.secretsOf(org.orgId)).rejects.toMatchObject({ reason: "KEY_DESTROYED" });
    expect(unsigned.status).toBe(401);
    expect((await send()).status).toBe(404);
    expect(log()).not.toContain('"level":"error"');

    for (const one of [service, replica]) expect((await use(one, stays)).status).toBe(200);
    expect(await vault.secretsOf(stays.orgId)).toStrictEqual(kept);
    // A key that is destroyed cannot be given anew.
    await expect(vault.rotation.start(org.orgId)).rejects.toMatchObject({ reason: "KEY_DESTROYED" });
    expect(await shred(org.orgId)).toStrictEqual({ shredded: false });
  });

  test("is recorded, and its rows are erased by any replica", async () => {
    const org = await service.newOrganization("erased");
    await fillVault(vault, org, upstream.url);
    expect(Object.keys(await versionsOf(postgres, org.orgId)).length).toBeGreaterThan(5);
    await shred(org.orgId);
    await replica.app.loops.orgKeys.runOnce();
    expect(await versionsOf(postgres, org.orgId)).toStrictEqual({});
    expect(await postgres.asOwner("select from connections where org_id = $1", [org.orgId])).toHaveLength(0);
    const [recorded, ...more] = await postgres.asOwner(
      "select target, api_key_id from audit_events where action = 'organization.shred' and org_id = $1",
      [org.orgId],
    );
    expect([recorded, more]).toStrictEqual([{ target: org.orgId, api_key_id: null }, []]);
  });

  test("takes with it a new key that was being made", async () => {
    const org = await service.newOrganization("races");
    await fillVault(vault, org, upstream.url);
    await using holder = openConnection(postgres.url, {});
    // The middle of a rotation's first step: it holds the key, and has made the next one.
    await holder.run("begin");
    await holder.run("select set_config('app.org_id', $1, true)", [org.orgId]);
    await holder.run("select hold_org_key()");
    await holder.run(
      `insert into org_keys select org_id, purpose, 2, wrapped_key, root_key_id, created_at from org_keys
       where org_id = $1`,
      [org.orgId],
    );
    await using operator = openConnection(postgres.url, {});
    const shredding = operator.run("select shred_organization($1, '{}')", [org.orgId]);
    await untilOneWaits(postgres);
    await holder.run("commit");
    await shredding;
    const living = await postgres.asOwner(
      "select version from org_keys where org_id = $1 and wrapped_key is not null",
      [org.orgId],
    );
    expect(living).toHaveLength(0);
  });
});

test("nothing of a shredded organisation is left but what never was secret", async () => {
  await using other = await startService({ rootKey });
  const { org } = other;
  await using alone = openVault(other.postgres, rootKey);
  await fillVault(alone, org, upstream.url);
  await fillEveryTable(other);
  await other.postgres.asOwner("select shred_organization($1, '{}')", [org.orgId]);
  await other.app.loops.orgKeys.runOnce();
  const tables = await other.postgres.asOwner(
    `select c.relname as name from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
       and a.attname = 'org_id' and not a.attisdropped order by name`,
  );
  const left: string[] = [];
  for (const { name } of tables) {
    const rows = await other.postgres.asOwner(`select from ${String(name)} where org_id = $1 limit 1`, [
      org.orgId,
    ]);
    if (rows.length > 0) left.push(String(name));
  }
  expect(left).toStrictEqual([
    // Its keys were hashed, and the wrapped ones are destroyed.
    ...["api_key_ends", "api_key_secrets", "api_keys"],
    ...["audit_anchors", "audit_events", "audit_heads", "audit_starts"],
    ...["catalog_definitions", "catalog_operations", "catalog_revisions", "catalogs"],
    // That connections ended, for who watches them.
    ...["connection_farewells", "connection_heads"],
    ...["integrations", "operation_drift", "org_keys", "users"],
  ]);
  const isErased = async () =>
    (await other.postgres.asOwner("select from orgs where erased_at is not null")).length > 0;
  expect(await isErased()).toBe(false);
  // From an hour later on, it is looked for no more.
  await other.postgres.asOwner("update orgs set shredded_at = shredded_at - interval '61 minutes'");
  await other.app.loops.orgKeys.runOnce();
  expect(await isErased()).toBe(true);
});

test("the serving role cannot shred, nor destroy a key that is in use", async () => {
  const org = await service.newOrganization("safe");
  await fillVault(vault, org, upstream.url);
  await using role = openConnection(postgres.url, { role: "patchbay_app" });
  await role.run("select set_config('app.org_id', $1, false)", [org.orgId]);
  await expect(role.run("select shred_organization($1, '{}')", [org.orgId])).rejects.toMatchObject({
    code: "42501",
  });
  await expect(role.run("update org_keys set wrapped_key = null")).rejects.toMatchObject({ code: "42501" });
  await expect(role.run("update orgs set shredded_at = now()")).rejects.toMatchObject({ code: "42501" });
  expect(await role.run("select destroy_replaced_org_keys()")).toHaveLength(0);
  await vault.rotation.start(org.orgId);
  expect(await role.run("select destroy_replaced_org_keys()")).toHaveLength(0);
  expect((await use(replica, org)).status).toBe(200);
});

test("where no notification arrives, what was shredded is refused after 5 seconds", async () => {
  const org = await service.newOrganization("unheard");
  await fillVault(vault, org, upstream.url);
  expect((await use(replica, org)).status).toBe(200);
  await blockNotifications(postgres);
  await shred(org.orgId);
  replica.clock.advance(5_000);
  expect((await use(replica, org)).status).toBe(401);
});
