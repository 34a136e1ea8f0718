import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

const day = 24 * 60 * 60 * 1000;

async function issue(
  service: TestService,
  fields: Record<string, unknown> = {},
  by: Presenter = service.org,
) {
  const { body } = await by.rest("POST", "/api/api-keys", { name: "k", scopes: ["a:view"], ...fields });
  return { id: body.data.apiKey.id as string, ...service.as(body.data.secret as string) };
}

const statusOf = async (key: Presenter) => (await key.rest("GET", "/api/auth/me")).status;

test("rotating answers the new secret once and when the old one ends; both work until then, under one id", async () => {
  await using service = await startService();
  const old = await issue(service);
  const reply = await service.org.rest("POST", `/api/api-keys/${old.id}/rotate`);
  expect(reply.status).toBe(200);
  const { apiKey, secret, previousValidUntil } = reply.body.data;
  expect(previousValidUntil).toBe(new Date(service.clock.now().getTime() + day).toISOString());
  expect(apiKey).toMatchObject({ id: old.id, secrets: [{}, { validUntil: previousValidUntil }] });
  const fresh = service.as(secret as string);
  expect([await statusOf(old), await statusOf(fresh)]).toStrictEqual([200, 200]);
  expect((await fresh.rest("GET", "/api/auth/me")).body.data.apiKeyId).toBe(old.id);

  service.clock.advance(day - 1);
  expect(await statusOf(old)).toBe(200);
  service.clock.advance(1);
  const refused = await old.rest("GET", "/api/auth/me");
  expect([refused.status, refused.body]).toStrictEqual([401, { error: "missing or invalid Bearer" }]);
  expect(await statusOf(fresh)).toBe(200);
  expect(JSON.stringify((await service.org.rest("GET", "/api/audit/events")).body)).not.toContain(secret);
});

test("the last use of each secret shows who was not redeployed yet", async () => {
  await using service = await startService();
  const old = await issue(service);
  await service.org.rest("POST", `/api/api-keys/${old.id}/rotate`);
  service.clock.advance(60_000);
  await statusOf(old);
  const { body } = await service.org.rest("GET", `/api/api-keys/${old.id}`);
  const [newest, before] = body.data.apiKey.secrets as { lastUsedAt?: string }[];
  expect(newest).not.toHaveProperty("lastUsedAt");
  expect(before!.lastUsedAt).toBe(service.clock.now().toISOString());
});

test("the grace can be chosen, be none, and be ended early, twice with one event", async () => {
  await using service = await startService();
  const key = await issue(service);
  const none = await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`, { graceSeconds: 0 });
  expect(await statusOf(key)).toBe(401);
  const second = service.as(none.body.data.secret as string);
  const hour = await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`, { graceSeconds: 3600 });
  const third = service.as(hour.body.data.secret as string);
  expect([await statusOf(second), await statusOf(third)]).toStrictEqual([200, 200]);
  for (let i = 0; i < 2; i++) {
    expect((await service.org.rest("POST", `/api/api-keys/${key.id}/end-grace`)).status).toBe(200);
  }
  expect([await statusOf(second), await statusOf(third)]).toStrictEqual([401, 200]);
  const { events } = await service.org.client.audit.listAuditEvents({ target: key.id });
  // Beside them there is one that the secrets were used after their end, whenever that is written.
  const changes = events.map(({ action }) => action).filter((one) => one !== "api_key.used_after_rotation");
  expect(changes).toStrictEqual(["api_key.end_grace", "api_key.rotate", "api_key.rotate", "api_key.create"]);
  const tooLong = await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`, { graceSeconds: 604_801 });
  expect([tooLong.status, tooLong.body.error]).toStrictEqual([400, expect.stringContaining("graceSeconds")]);
});

test("a caller cannot rotate a key wider than its own, nor another organisation's", async () => {
  await using service = await startService();
  const manager = await issue(service, { scopes: ["api:manage", "a:view"] });
  const wider = await issue(service, { scopes: ["a:view", "b:view"] });
  const refused = await manager.rest("POST", `/api/api-keys/${wider.id}/rotate`);
  expect([refused.status, refused.body]).toStrictEqual([403, { error: "missing scope: b:view" }]);
  const other = await service.newOrganization("globex");
  const foreign = await other.rest("POST", `/api/api-keys/${wider.id}/rotate`);
  const nobodys = await other.rest("POST", "/api/api-keys/key_01ARZ3NDEKTSV4RRFFQ69G5FAV/rotate");
  expect([foreign.status, foreign.body]).toStrictEqual([404, nobodys.body]);
});

test("a revoked or expired key is not rotated, and revoking ends every secret at once", async () => {
  await using service = await startService();
  const end = new Date(service.clock.now().getTime() + 60_000).toISOString();
  const short = await issue(service, { expiresAt: end });
  const soon = await service.org.rest("POST", `/api/api-keys/${short.id}/rotate`);
  expect(soon.body.data.previousValidUntil).toBe(end);
  service.clock.advance(60_000);
  const late = await service.org.rest("POST", `/api/api-keys/${short.id}/rotate`);
  expect([late.status, late.headers.get("x-error-reason")]).toStrictEqual([409, "API_KEY_EXPIRED"]);

  const key = await issue(service);
  const { body } = await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`);
  await service.org.rest("DELETE", `/api/api-keys/${key.id}`);
  expect([await statusOf(key), await statusOf(service.as(body.data.secret as string))]).toStrictEqual([
    401, 401,
  ]);
  const revoked = await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`);
  expect([revoked.status, revoked.headers.get("x-error-reason")]).toStrictEqual([409, "API_KEY_REVOKED"]);
});

test("rotations and a revocation at the same time leave at most five live secrets, or none", async () => {
  await using service = await startService();
  const key = await issue(service);
  const rotate = () => service.org.rest("POST", `/api/api-keys/${key.id}/rotate`);
  const replies = await Promise.all(Array.from({ length: 8 }, rotate));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(4);
  expect(
    replies.filter(({ status }) => status === 409).map(({ headers }) => headers.get("x-error-reason")),
  ).toStrictEqual(Array.from({ length: 4 }, () => "TOO_MANY_SECRETS"));
  const secrets = replies.flatMap(({ status, body }) => (status === 200 ? [body.data.secret as string] : []));
  const newest = await service.postgres.asOwner(
    "select 1 from api_key_secrets where key_id = $1 and valid_until is null",
    [key.id],
  );
  expect(newest).toHaveLength(1);
  await service.org.rest("DELETE", `/api/api-keys/${key.id}`);
  for (const secret of [key.secret, ...secrets]) expect(await statusOf(service.as(secret))).toBe(401);
});

test("the newest secret is the one that is shown, also if the replica that made it has a slow clock", async () => {
  const rootKey = randomBytes(32).toString("base64");
  await using slow = await startService({ rootKey });
  await using fast = await startService({ rootKey, postgres: slow.postgres });
  fast.clock.advance(60_000);
  const { id } = await issue(slow);
  await fast.as(slow.org.secret).rest("POST", `/api/api-keys/${id}/rotate`);
  const { body } = await slow.org.rest("POST", `/api/api-keys/${id}/rotate`);
  const shown = (await slow.org.rest("GET", `/api/api-keys/${id}`)).body.data.apiKey;
  expect((body.data.secret as string).startsWith((shown.hint as string).slice(0, -1))).toBe(true);
  expect(shown).toStrictEqual(body.data.apiKey);
});

describe("a key that was rotated again and again", () => {
  type Secrets = { validUntil?: string; lastUsedAt?: string }[];
  const rotations = 12;

  test("tells of its last secrets, and of its last use, however long that is ago", async () => {
    await using service = await startService();
    const key = await issue(service);
    await statusOf(key);
    const usedAt = service.clock.now().toISOString();
    for (let i = 0; i < rotations; i++) {
      service.clock.advance(1_000);
      await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`, { graceSeconds: 0 });
    }
    const { apiKey } = (await service.org.rest("GET", `/api/api-keys/${key.id}`)).body.data;
    const secrets = apiKey.secrets as Secrets;
    const ends = secrets.map(({ validUntil }) => Date.parse(validUntil ?? "9999-12-31"));
    expect(secrets).toHaveLength(11);
    expect(ends).toStrictEqual(ends.toSorted((a, b) => b - a));
    expect([apiKey.lastUsedAt, secrets.at(-1)?.lastUsedAt]).toStrictEqual([usedAt, usedAt]);
  });

  test("forgets none of its secrets that is still good", async () => {
    await using service = await startService();
    const key = await issue(service);
    const path = `/api/api-keys/${key.id}`;
    await service.org.rest("POST", `${path}/rotate`, { graceSeconds: 604_800 });
    for (let i = 0; i < rotations; i++) {
      service.clock.advance(1_000);
      await service.org.rest("POST", `${path}/rotate`, { replaceUnused: true });
    }
    const { apiKey } = (await service.org.rest("GET", path)).body.data;
    const now = service.clock.now().toISOString();
    const good = (apiKey.secrets as Secrets).filter(({ validUntil }) => (validUntil ?? "9999") > now);
    expect([good.length, await statusOf(key)]).toStrictEqual([2, 200]);
    expect((await service.org.rest("POST", `${path}/end-grace`)).status).toBe(200);
    expect(await statusOf(key)).toBe(401);
  });
});

describe("secrets are locked in the order of their hashes, so that nobody locks out who notes their use", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service[Symbol.asyncDispose]());

  /** The hashes of the keys' secrets, oldest first. */
  async function hashesOf(...ids: string[]): Promise<string[]> {
    const rows = await service.postgres.asOwner(
      `select encode(secret_hash, 'hex') as hash from api_key_secrets where key_id = any($1::text[])
       order by key_id, valid_until nulls last`,
      [ids],
    );
    return rows.map(({ hash }) => hash as string);
  }

  /** Holds the first secret while something else goes on, and looks whether the second is still to be had. */
  async function expectFree(held: string, wanted: string, work: () => Promise<unknown>) {
    await using holder = openConnection(service.postgres.url, {});
    const lock = (hash: string) =>
      holder.run("select from api_key_secrets where secret_hash = decode($1, 'hex') for update nowait", [
        hash,
      ]);
    await holder.run("begin");
    await lock(held);
    let isDone = false;
    const working = work().finally(() => (isDone = true));
    const waiting =
      "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    await expect
      .poll(async () => isDone || (await service.postgres.asOwner(waiting)).length > 0, { interval: 5 })
      .toBe(true);
    await lock(wanted);
    await holder.run("rollback");
    await working;
  }

  test.each([
    ["rotate", 2],
    ["end-grace", 1],
  ])("by %s", async (action, last) => {
    const { id } = await issue(service);
    for (let i = 0; i < 2; i++) {
      await service.org.rest("POST", `/api/api-keys/${id}/rotate`);
      service.clock.advance(1);
    }
    await service.postgres.asOwner(
      `update api_key_secrets set secret_hash = set_byte(secret_hash, 0, place::integer)
       from (select secret_hash as hash, row_number() over (order by valid_until) as place
             from api_key_secrets where key_id = $1) as placed
       where secret_hash = hash`,
      [id],
    );
    const hashes = await hashesOf(id);
    await expectFree(hashes[0]!, hashes[last]!, async () => {
      expect((await service.org.rest("POST", `/api/api-keys/${id}/${action}`)).status).toBe(200);
    });
  });

  test("by who notes their use, however many there are", async () => {
    const first = await issue(service);
    const [high = ""] = await hashesOf(first.id);
    let second: Awaited<ReturnType<typeof issue>>;
    let low: string;
    do {
      second = await issue(service);
      [low = ""] = await hashesOf(second.id);
    } while (low > high);
    await service.postgres.asOwner(
      `insert into api_key_secrets (secret_hash, org_id, key_id, hint, created_at, valid_until)
       select sha256(n::text::bytea), org_id, key_id, hint, created_at, created_at
       from api_key_secrets, generate_series(1, 500) n where key_id = $1`,
      [second.id],
    );
    await service.postgres.asOwner("analyze api_key_secrets");
    await statusOf(first);
    await statusOf(second);
    await expectFree(low, high, async () => service.org.rest("GET", "/api/api-keys"));
    const seen = await service.org.rest("GET", `/api/api-keys/${first.id}`);
    expect(seen.body.data.apiKey.lastUsedAt).toBe(service.clock.now().toISOString());
  });
});

describe("a secret that was lost on its way", () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service[Symbol.asyncDispose]());

  const replace = (id: string, fields: object = {}) =>
    service.org.rest("POST", `/api/api-keys/${id}/rotate`, { replaceUnused: true, ...fields });

  test("is replaced and ends at once, while the one before stays good as it was promised", async () => {
    const old = await issue(service);
    expect(await statusOf(old)).toBe(200);
    const lost = await service.org.rest("POST", `/api/api-keys/${old.id}/rotate`);
    const promised = lost.body.data.previousValidUntil as string;
    service.clock.advance(60_000);
    const reply = await replace(old.id);
    expect([reply.status, reply.body.data]).toMatchObject([
      200,
      {
        previousValidUntil: service.clock.now().toISOString(),
        apiKey: {
          secrets: [{}, { validUntil: service.clock.now().toISOString() }, { validUntil: promised }],
        },
      },
    ]);
    const fresh = service.as(reply.body.data.secret as string);
    expect(await statusOf(service.as(lost.body.data.secret as string))).toBe(401);
    expect([await statusOf(old), await statusOf(fresh)]).toStrictEqual([200, 200]);
    service.clock.advance(day - 60_000);
    expect([await statusOf(old), await statusOf(fresh)]).toStrictEqual([401, 200]);
    const { events } = await service.org.client.audit.listAuditEvents({
      target: old.id,
      action: "api_key.rotate",
    });
    expect(events[0]).toMatchObject({ details: { replacedUnused: true } });
  });

  test("is replaced too when it is the first of its key, however often, beside four that are still good", async () => {
    const key = await issue(service);
    for (let i = 0; i < 4; i++) await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`);
    for (let i = 0; i < 3; i++) expect((await replace(key.id)).status).toBe(200);
    const created = await issue(service);
    const reply = await replace(created.id);
    const fresh = service.as(reply.body.data.secret as string);
    expect([await statusOf(created), await statusOf(fresh)]).toStrictEqual([401, 200]);
  });

  test("is told from one that was used, also if that was only just noted in memory", async () => {
    const key = await issue(service);
    expect(await statusOf(key)).toBe(200);
    const refused = await replace(key.id);
    expect([refused.status, refused.headers.get("x-error-reason")]).toStrictEqual([409, "SECRET_IN_USE"]);
    expect(await statusOf(key)).toBe(200);
    // An older secret may be in use: only the newest was lost.
    await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`);
    expect((await replace(key.id)).status).toBe(200);
  });

  test("gets no grace, and is nobody's who could not rotate its key", async () => {
    const key = await issue(service, { scopes: ["a:view", "b:view"] });
    for (const graceSeconds of [0, 60]) {
      const { status, body } = await replace(key.id, { graceSeconds });
      expect([status, body.error]).toStrictEqual([400, expect.stringContaining("graceSeconds")]);
    }
    const manager = await issue(service, { scopes: ["api:manage", "a:view"] });
    const narrow = await manager.rest("POST", `/api/api-keys/${key.id}/rotate`, { replaceUnused: true });
    expect([narrow.status, narrow.body]).toStrictEqual([403, { error: "missing scope: b:view" }]);
    expect(await statusOf(key)).toBe(200);
  });

  test("of many that replace it at once, all do, one after the other", async () => {
    const key = await issue(service);
    const replies = await Promise.all(Array.from({ length: 8 }, () => replace(key.id)));
    expect(replies.map(({ status }) => status)).toStrictEqual(Array.from({ length: 8 }, () => 200));
    const secrets = [key, ...replies.map(({ body }) => service.as(body.data.secret as string))];
    const good = [];
    for (const secret of secrets) if ((await statusOf(secret)) === 200) good.push(secret);
    expect(good).toHaveLength(1);
  });
});
