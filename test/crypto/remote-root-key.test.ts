import { randomBytes } from "node:crypto";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { foundFirstOrganization } from "#src/cli/found-organization.ts";
import { reasonOf } from "#src/client/node.ts";
import { localRootKey, newRootKeyText, type RootKey } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { untilOneWaits } from "../support/locks.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Tenant } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

/** A root key that is a service somewhere: it may be slow, or fail, for some of what it is asked. */
function remoteRootKey() {
  const local = localRootKey(newRootKeyText());
  const asked = { wrap: [] as string[], unwrap: [] as string[] };
  let answer: (name: string) => Promise<void> = async () => {};
  const rootKey: RootKey = {
    id: local.id,
    async wrap(key, context) {
      asked.wrap.push(context.join("/"));
      return local.wrap(key, context);
    },
    async unwrap(wrapped, context) {
      asked.unwrap.push(context.join("/"));
      await answer(context.join("/"));
      return local.unwrap(wrapped, context);
    },
  };
  return { rootKey, asked, answerWith: (next: typeof answer) => void (answer = next) };
}

const connect = ({ client }: Tenant, url: string, slug = "custom:bank") =>
  client.connections.upsertServiceConnection({ serviceSlug: slug, baseUrl: url, apiKey: "k" });

const call = ({ client }: Tenant, slug = "custom:bank") =>
  client.connections.callService({ service: slug, method: "GET", path: "/" });

/** `ok`, or why not. */
const outcome = (work: Promise<unknown>) => work.then(() => "ok", reasonOf);

test("a root key that is slow for one organisation holds up no other, nor what needs no key, and is asked once", async () => {
  const remote = remoteRootKey();
  await using service = await startService({ rootKey: remote.rootKey });
  await using upstream = await startUpstream();
  const { org: slow } = service;
  const other = await service.newOrganization("globex");
  const key = `kek/${slow.orgId}/1`;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  remote.answerWith((name) => (name === key ? released : Promise.resolve()));

  // Many more than there are connections to the database.
  let settled = 0;
  const waiting = Array.from({ length: 30 }, (_, i) =>
    outcome(connect(slow, upstream.url, `custom:s${i}`)).finally(() => settled++),
  );
  await expect.poll(() => remote.asked.unwrap, { timeout: 50_000 }).toContain(key);
  expect(await outcome(connect(other, upstream.url))).toBe("ok");
  expect(await outcome(call(other))).toBe("ok");
  expect(await outcome(slow.client.apiKeys.listApiKeys({}))).toBe("ok");
  expect(settled).toBe(0);

  expect(new Set(await Promise.all(waiting))).toStrictEqual(new Set(["ROOT_KEY_UNAVAILABLE"]));
  const reply = await slow.rest("POST", "/api/service-connections", {
    serviceSlug: "custom:bank",
    baseUrl: upstream.url,
    apiKey: "k",
  });
  expect([reply.status, reply.body]).toStrictEqual([
    503,
    { error: expect.stringMatching(/root key .* nothing was done: try again/) as string },
  ]);
  expect(remote.asked.unwrap.filter((name) => name === key)).toHaveLength(1);
  expect(service.logged()).toContain("the root key is slow");
  expect(service.logged()).not.toContain("fault of ours");

  // What it answers at last is for the calls that come then.
  release();
  await expect.poll(() => outcome(connect(slow, upstream.url)), { timeout: 50_000 }).toBe("ok");
  expect(await outcome(call(slow))).toBe("ok");
  expect(remote.asked.unwrap.filter((name) => name === key)).toHaveLength(1);
});

test("a root key that fails is no fault of ours, is asked again only after a pause, and is forgiven", async () => {
  const remote = remoteRootKey();
  await using postgres = await createTestDatabase();
  await using service = await startService({ rootKey: remote.rootKey, postgres });
  await using upstream = await startUpstream();
  await connect(service.org, upstream.url);
  // Another replica, which has to unwrap the key that this one has.
  await using replica = await startService({ rootKey: remote.rootKey, postgres });
  const caller = { ...service.org, ...replica.as(service.org.secret) };
  remote.answerWith(() => Promise.reject(new Error("connect ECONNREFUSED")));
  const before = remote.asked.unwrap.length;
  const startedAt = performance.now();
  for (let i = 0; i < 20; i++) expect(await outcome(call(caller))).toBe("ROOT_KEY_UNAVAILABLE");
  const seconds = Math.ceil((performance.now() - startedAt) / 1000);
  expect(remote.asked.unwrap.length - before).toBeLessThanOrEqual(seconds);
  expect(upstream.asked).toHaveLength(0);
  expect(replica.logged()).toContain("the root key did not unwrap");
  expect(replica.logged()).not.toContain("fault of ours");

  remote.answerWith(async () => {});
  await expect.poll(() => outcome(call(caller)), { timeout: 50_000 }).toBe("ok");
});

test("a start asks the root key to wrap nothing that is there already", async () => {
  const { rootKey, asked } = remoteRootKey();
  await using postgres = await createTestDatabase();
  const database = createDatabase({ url: postgres.url, log: pino({ level: "silent" }), poolSize: 2 });
  const start = async () => {
    await loadPepper(database, rootKey, () => new Date());
    return foundFirstOrganization({ database, rootKey }, "sandbox", async () => {});
  };
  const founding = await start();
  const wrapped = ["pepper/1", `kek/${founding!.admin.orgId}/1`];
  expect(asked.wrap).toStrictEqual(wrapped);
  expect(await start()).toBeUndefined();
  expect(asked.wrap).toStrictEqual(wrapped);
  await database.close();
});

test("a credential that is stored while its organisation's key is replaced is sealed with the new one", async () => {
  const { rootKey } = remoteRootKey();
  await using service = await startService({ rootKey });
  await using upstream = await startUpstream();
  const { org, postgres } = service;
  const { connection } = await connect(org, upstream.url);
  await connect(org, upstream.url, "custom:untouched");
  await using holder = openConnection(postgres.url, {});
  await holder.run("begin");
  await holder.run("select from connections where id = $1 for update", [connection!.id]);
  const again = connect(org, upstream.url);
  await untilOneWaits(postgres);
  await postgres.asOwner(
    `insert into org_keys (org_id, purpose, version, wrapped_key, root_key_id, created_at)
     values ($1, 'kek', 2, $2, $3, now())`,
    [org.orgId, await rootKey.wrap(randomBytes(32), ["kek", org.orgId, "2"]), rootKey.id],
  );
  await holder.run("commit");
  await again;
  const [stored] = await postgres.asOwner(
    "select kek_version, version from credentials where connection_id = $1",
    [connection!.id],
  );
  expect(stored).toStrictEqual({ kek_version: 2, version: 2 });
  expect(await outcome(call(org))).toBe("ok");
  expect(await outcome(call(org, "custom:untouched"))).toBe("ok");
});

test("a destroyed key opens nothing any more, also where it was cached", async () => {
  await using service = await startService();
  await using upstream = await startUpstream();
  await connect(service.org, upstream.url);
  expect(await outcome(call(service.org))).toBe("ok");
  await service.postgres.asOwner("update org_keys set wrapped_key = null");
  // As soon as the service has heard of it: its clock stands still.
  await vi.waitUntil(async () => (await outcome(call(service.org))) === "KEY_DESTROYED", { timeout: 50_000 });
});
