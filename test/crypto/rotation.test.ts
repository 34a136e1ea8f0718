import { afterAll, beforeAll, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { insertFlow } from "#src/connections/oauth/flow-store.ts";
import { newToken, openFlow, withSecret } from "#src/connections/oauth/flow.ts";
import { openConnection } from "#src/db/connection.ts";
import { sealedColumns } from "#src/sealed-columns.ts";
import { tableName } from "#src/crypto/sealed-column.ts";
import { untilOneWaits } from "../support/locks.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
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

const call = ({ client }: Pick<Tenant, "client">) =>
  client.connections.callService({ service: "custom:bank", method: "GET", path: "/" });

const keysOf = (orgId: string) =>
  postgres.asOwner(
    "select version, wrapped_key is null as destroyed from org_keys where org_id = $1 order by version",
    [orgId],
  );

async function rotate(orgId: string) {
  await vault.rotation.start(orgId);
  return vault.rotation.finish(orgId);
}

test("every column of bytes is declared as sealed, or is known to hold no secret", async () => {
  const rows = await postgres.asOwner(`
    select c.relname || '.' || a.attname as name
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and a.atttypid = 'bytea'::regtype and not a.attisdropped`);
  const sealed = sealedColumns.map((column) => `${tableName(column)}.${column.sealed.name}`);
  const plain = [
    // Of senders, to know an event again.
    "receipts.key",
    // Sealed with the key of their log, which is sealed itself, or by nothing.
    ...["events.data", "event_uploads.piece", "event_uploads.upload"],
    // The wrapped keys themselves.
    ...["org_keys.wrapped_key", "service_keys.wrapped_key"],
  ];
  const isHash = /hash$|\.signature$/;
  const names = rows.map((row) => String(row["name"]));
  const others = names.filter((name) => !plain.includes(name) && !isHash.test(name));
  expect(others.toSorted()).toStrictEqual(sealed.toSorted());
});

test("every column that says which key something is sealed with is one that is sealed anew", async () => {
  const rows = await postgres.asOwner(`
    select c.relname || '.' || a.attname as name
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and a.attname like '%kek\\_version' and not a.attisdropped`);
  const known = sealedColumns.map((column) => `${tableName(column)}.${column.kekVersion.name}`);
  expect(rows.map((row) => String(row["name"])).toSorted()).toStrictEqual(known.toSorted());
});

test("a rotation seals every kind of secret anew, changes none, and destroys the earlier key", async () => {
  const org = await service.newOrganization("rotates");
  await fillVault(vault, org, upstream.url);
  const before = await vault.secretsOf(org.orgId);
  const tables = sealedColumns.map((column) => tableName(column));
  expect(new Set([...before.keys()].map((name) => name.split(" ")[0]))).toStrictEqual(new Set(tables));

  await expect(rotate(org.orgId)).resolves.toMatchObject({
    ...{ version: 2, resealed: before.size, destroyed: [1], remaining: [], unopened: [] },
  });
  const used = Object.keys(await versionsOf(postgres, org.orgId));
  expect(used.toSorted()).toStrictEqual(tables.map((name) => `${name} 2`).toSorted());
  expect(await vault.secretsOf(org.orgId)).toStrictEqual(before);
  expect(await keysOf(org.orgId)).toMatchObject([{ destroyed: true }, { destroyed: false }]);
  for (const one of [service, replica]) await call(one.as(org.secret));

  const { events } = await org.client.audit.listAuditEvents({});
  const actions = events.map(({ action }) => action);
  expect(actions).toStrictEqual(
    expect.arrayContaining(["organization.rotate_key", "organization.destroy_key"]),
  );
});

test("while calls are made and secrets are stored on two replicas, rotations fail none of them and lose nothing", async () => {
  const org = await service.newOrganization("busy");
  await fillVault(vault, org, upstream.url);
  let isOver = false;
  const failures: string[] = [];
  let done = 0;
  const busy = (work: (turn: number) => Promise<unknown>) =>
    (async () => {
      for (let turn = 0; !isOver; turn++) {
        await work(turn).then(
          () => done++,
          (error: unknown) => failures.push(String(error)),
        );
      }
    })();
  const on = (one: TestService) => one.as(org.secret).client;
  const slugOf = (turn: number) => `custom:s${turn % 4}`;
  const put = (one: TestService) => (turn: number) =>
    on(one).connections.upsertServiceConnection({
      ...{ serviceSlug: slugOf(turn), baseUrl: upstream.url, apiKey: `key-${turn}` },
      ...(turn > 8 && { fallbackSeconds: 600 }),
    });
  const working = [
    ...[service, replica].map((one) => busy(put(one))),
    ...[service, replica].map((one) => busy(() => call({ client: on(one) }))),
    busy(() => on(service).channels.createChannel({ name: "c", source: { case: "cloudEvents", value: {} } })),
  ];
  const destroyed: number[] = [];
  for (let round = 0; round < 3; round++) {
    const before = done;
    await expect.poll(() => done - before, { interval: 5, timeout: 50_000 }).toBeGreaterThan(10);
    destroyed.push(...(await rotate(org.orgId)).destroyed);
  }
  isOver = true;
  await Promise.all(working);
  expect(failures).toStrictEqual([]);
  expect(destroyed).toStrictEqual([1, 2, 3]);
  // Each opens: `secretsOf` fails at one that does not.
  expect((await vault.secretsOf(org.orgId)).size).toBeGreaterThan(10);
});

test("two processes that rotate at once make one new key, and both finish", async () => {
  const org = await service.newOrganization("twice");
  await fillVault(vault, org, upstream.url);
  await using other = openVault(postgres, rootKey);
  const begun = await Promise.all([vault, other].map(({ rotation }) => rotation.start(org.orgId)));
  expect(begun.map(({ version }) => version)).toStrictEqual([2, 2]);
  expect(begun.filter(({ isNew }) => isNew)).toHaveLength(1);
  const finished = await Promise.all([vault, other].map(({ rotation }) => rotation.finish(org.orgId)));
  expect(finished.flatMap(({ destroyed }) => destroyed)).toStrictEqual([1]);
  expect(finished.flatMap(({ remaining }) => remaining)).toStrictEqual([]);
});

test("a rotation that stopped halfway is finished by any replica, and by the next command instead of a new one", async () => {
  const org = await service.newOrganization("stops");
  await fillVault(vault, org, upstream.url);
  const before = await vault.secretsOf(org.orgId);
  // What is left of a process that was killed: a new key, a part that is sealed with it, and the rest.
  await vault.rotation.start(org.orgId);
  await postgres.asOwner("alter table webhook_secrets rename to webhook_secrets_away");
  await expect(vault.rotation.finish(org.orgId)).rejects.toThrow(/42P01/);
  await postgres.asOwner("alter table webhook_secrets_away rename to webhook_secrets");
  expect(await versionsOf(postgres, org.orgId)).toMatchObject({ "credentials 2": 1, "webhook_secrets 1": 1 });
  await expect(vault.rotation.start(org.orgId)).resolves.toStrictEqual({ version: 2, isNew: false });
  await replica.app.loops.orgKeys.runOnce();
  expect(await keysOf(org.orgId)).toMatchObject([{ destroyed: true }, { destroyed: false }]);
  expect(await vault.secretsOf(org.orgId)).toStrictEqual(before);
});

test("a secret that is being stored with the earlier key keeps that key until it is sealed anew itself", async () => {
  const org = await service.newOrganization("slow");
  await vault.rotation.start(org.orgId);
  await vault.rotation.finish(org.orgId);
  const { promise: sealed, resolve: isSealed } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { connection } = await org.client.connections.upsertServiceConnection({
    ...{ serviceSlug: "custom:bank", baseUrl: upstream.url, apiKey: "k" },
  });
  const storing = vault.keyring.sealing(org.orgId, (sealer) =>
    vault.database.record(org.orgId, async (tx) => {
      const expiresAt = new Date(Date.now() + 600_000);
      const carried = { orgId: org.orgId, connectionId: connection!.id, userId: null, apiKeyId: null };
      const flow = openFlow(newToken(), "callback", { ...carried, scopes: [], returnTo: null, expiresAt });
      const kept = await withSecret(sealer, tx, flow, "a verifier");
      isSealed();
      await released;
      await insertFlow(tx, kept, new Date());
    }),
  );
  await sealed;
  await using other = openVault(postgres, rootKey);
  await other.rotation.start(org.orgId);
  const finishing = other.rotation.finish(org.orgId);
  await expect
    .poll(() => versionsOf(postgres, org.orgId), { timeout: 20_000 })
    .toStrictEqual({
      "credentials 3": 1,
    });
  // Nothing can be seen that is sealed with it, and yet it cannot be destroyed.
  await using destroyer = openConnection(postgres.url, {});
  await destroyer.run("select set_config('app.org_id', $1, false)", [org.orgId]);
  await expect(destroyer.run("select destroy_replaced_org_keys()")).rejects.toMatchObject({ code: "55P03" });
  release();
  await storing;
  await expect(finishing).resolves.toMatchObject({ destroyed: [2], remaining: [] });
  expect(await versionsOf(postgres, org.orgId)).toStrictEqual({ "credentials 3": 1, "oauth_flows 3": 1 });
  expect(await vault.secretsOf(org.orgId)).toHaveProperty("size", 2);
});

test("a credential that becomes a fallback meanwhile is not left behind with a destroyed key", async () => {
  const org = await service.newOrganization("copies");
  const put = (apiKey: string, fallbackSeconds?: number) =>
    org.client.connections.upsertServiceConnection({
      ...{ serviceSlug: "custom:bank", baseUrl: upstream.url, apiKey },
      ...(fallbackSeconds && { fallbackSeconds }),
    });
  const { connection } = await put("first");
  await vault.rotation.start(org.orgId);
  await using holder = openConnection(postgres.url, {});
  await holder.run("begin");
  await holder.run("select from connection_health where connection_id = $1 for update", [connection!.id]);
  // It seals with the new key, has read what the earlier one sealed, and copies that in the end.
  const storing = put("second", 600);
  await untilOneWaits(postgres);
  let isOver = false;
  const finishing = vault.rotation.finish(org.orgId).finally(() => (isOver = true));
  const waiting = () =>
    postgres.asOwner(
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
  await expect.poll(async () => isOver || (await waiting()).length > 1, { interval: 5 }).toBe(true);
  await holder.run("commit");
  await storing;
  await expect(finishing).resolves.toMatchObject({ destroyed: [1], remaining: [] });
  const secrets = [...(await vault.secretsOf(org.orgId)).values()];
  expect(secrets.map((hex) => Buffer.from(hex, "hex").toString())).toStrictEqual(["second", "first"]);
});

test("a row that others hold is waited for, and holds up no other row", async () => {
  const org = await service.newOrganization("held");
  const id = await fillVault(vault, org, upstream.url);
  await using holder = openConnection(postgres.url, {});
  await holder.run("begin");
  await holder.run("select from credentials where connection_id = $1 for update", [id]);
  await vault.rotation.start(org.orgId);
  const finishing = vault.rotation.finish(org.orgId);
  await untilOneWaits(postgres);
  await holder.run("commit");
  await expect(finishing).resolves.toMatchObject({ destroyed: [1], remaining: [] });
});

test("bytes that do not open are named, stay as they are, and keep the earlier key alive", async () => {
  const org = await service.newOrganization("broken");
  const id = await fillVault(vault, org, upstream.url);
  await postgres.asOwner("update credentials set sealed = $2 where connection_id = $1", [
    id,
    Buffer.alloc(40, 1),
  ]);
  const finished = await rotate(org.orgId);
  expect(finished).toMatchObject({ destroyed: [], remaining: [1], unopened: [`credentials ${id}`] });
  expect(await versionsOf(postgres, org.orgId)).toMatchObject({ "credentials 1": 1, "webhook_secrets 2": 1 });
  const log = replica.watchLog();
  // Found again in each turn, and warned of once, and again a day later.
  for (let turn = 0; turn < 3; turn++) await replica.app.loops.orgKeys.runOnce();
  const warnings = () =>
    log()
      .split("\n")
      .filter((line) => line.includes(org.orgId));
  expect(warnings()).toStrictEqual([expect.stringContaining(`credentials ${id}`)]);
  replica.clock.advance(24 * 60 * 60 * 1000);
  await replica.app.loops.orgKeys.runOnce();
  expect(warnings()).toHaveLength(2);
  // Once it is stored again, there is nothing that needs the earlier key.
  await org.client.connections.upsertServiceConnection({
    ...{ serviceSlug: "custom:bank", baseUrl: upstream.url, apiKey: "third" },
  });
  await replica.app.loops.orgKeys.runOnce();
  expect(await keysOf(org.orgId)).toMatchObject([{ destroyed: true }, { destroyed: false }]);
});

test("a column that nobody seals anew keeps the earlier key alive", async () => {
  const org = await service.newOrganization("forgets");
  await postgres.asOwner("create table forgotten (org_id text, kek_version integer)");
  await postgres.asOwner("insert into forgotten values ($1, 1)", [org.orgId]);
  try {
    await vault.rotation.start(org.orgId);
    await vault.upkeep.runOnce();
    expect(await keysOf(org.orgId)).toMatchObject([{ destroyed: false }, { destroyed: false }]);
  } finally {
    await postgres.asOwner("drop table forgotten");
  }
  await vault.upkeep.runOnce();
  expect(await keysOf(org.orgId)).toMatchObject([{ destroyed: true }, { destroyed: false }]);
});
