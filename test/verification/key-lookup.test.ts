import { randomBytes } from "node:crypto";
import { pino } from "pino";
import { describe, expect, test, vi } from "vitest";
import { Consistency } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { createKeyLookup, type KeyLookup } from "#src/verification/key-lookup.ts";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { blockNotifications, startReplicas } from "../support/replicas.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

const whoAmI = async (presenter: Presenter) => (await presenter.rest("GET", "/api/auth/me")).status;

async function issue(service: TestService, fields: object = {}) {
  const { apiKey, secret } = await service.org.client.apiKeys.createApiKey({
    name: "job",
    scopes: ["connections:view"],
    ...fields,
  });
  return { id: apiKey!.id, ...service.as(secret) };
}

test("a key that is remembered costs no statement, one that is not costs one, and what is no key costs none", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  const job = await issue(service);
  const count = async (work: () => Promise<unknown>) => {
    const before = proxy.statements();
    await work();
    return proxy.statements() - before;
  };
  const verify = (key: string) => service.org.client.verification.verifyKey({ key });
  // The first use of a secret is written, once; see `used-secrets.test.ts`.
  await whoAmI(job);
  service.clock.advance(5_000);
  await whoAmI(service.org);

  expect(await count(() => whoAmI(job))).toBe(1);
  expect(await count(() => whoAmI(job))).toBe(0);
  expect(await count(() => verify(job.secret))).toBe(0);
  expect(await count(() => verify(`Bearer ${job.secret}`))).toBe(0);
  service.clock.advance(5_000);
  await whoAmI(service.org);
  expect(await count(() => verify(job.secret))).toBe(1);
  expect(await count(() => verify(job.secret))).toBe(0);

  const unknown = newApiKeySecret("sandbox");
  expect(await count(() => verify(unknown))).toBe(1);
  expect(await count(() => verify(unknown))).toBe(0);
  const lastChanged = unknown.slice(0, -1) + (unknown.endsWith("A") ? "B" : "A");
  const malformed = [
    "",
    "Bearer",
    "qedi_0123456789abcdef",
    lastChanged,
    unknown.toLowerCase(),
    "x".repeat(5_000),
  ];
  expect(await count(() => Promise.all(malformed.map(verify)))).toBe(0);

  // Twenty that come together are one question.
  service.clock.advance(5_000);
  await whoAmI(service.org);
  expect(await count(() => Promise.all(Array.from({ length: 20 }, () => verify(job.secret))))).toBe(1);
  const { verifyKey } = service.org.client.verification;
  expect(await count(() => verifyKey({ key: job.secret, consistency: Consistency.STRONG }))).toBe(1);

  // A revoked key costs exactly what an unknown one does, so that no clock tells them apart.
  await service.org.client.apiKeys.revokeApiKey({ id: job.id });
  // But for the event in the audit log, once an hour and behind the answer's back.
  await verify(job.secret);
  const isNoted = async () => {
    const { events } = await service.org.client.audit.listAuditEvents({ target: job.id });
    return events.some(({ action }) => action === "api_key.used_after_revocation");
  };
  await vi.waitUntil(isNoted);
  const costs = async (key: string) => [await count(() => verify(key)), await count(() => verify(key))];
  for (let i = 0; i < 2; i++) {
    service.clock.advance(2_000);
    await whoAmI(service.org);
    expect([await costs(job.secret), await costs(unknown)]).toStrictEqual([
      [1, 0],
      [1, 0],
    ]);
  }
});

describe("where it was made, without any notification, a remembered key's change counts from the next call on:", () => {
  type Change = (service: TestService, key: { id: string }) => Promise<unknown>;
  const admin = (service: TestService) => service.org.client.apiKeys;
  test.each<[string, Change, number]>([
    ["its revocation", (service, { id }) => admin(service).revokeApiKey({ id }), 401],
    [
      "the loss of a scope",
      (service, { id }) => admin(service).updateApiKey({ id, scopes: ["a:view"] }),
      403,
    ],
    [
      "an end",
      async (service, { id }) => {
        const expiresAt = { seconds: BigInt(Math.ceil(service.clock.now().getTime() / 1000) + 1), nanos: 0 };
        await admin(service).updateApiKey({ id, expiresAt });
        service.clock.advance(2_000);
      },
      401,
    ],
    [
      "a list of addresses",
      (service, { id }) => admin(service).updateApiKey({ id, allowedCidrs: ["10.0.0.0/8"] }),
      403,
    ],
    [
      "its rotation without grace",
      (service, { id }) => admin(service).rotateApiKey({ id, graceSeconds: 0 }),
      401,
    ],
    [
      "the end of its grace",
      async (service, key) => {
        await admin(service).rotateApiKey(key);
        expect(await whoAmI(service.org)).toBe(200);
        await admin(service).endApiKeyGrace(key);
      },
      401,
    ],
  ])("%s", async (_, change, status) => {
    await using service = await startService();
    await blockNotifications(service.postgres);
    const job = await issue(service);
    const listed = async () => (await job.rest("GET", "/api/service-connections")).status;
    expect(await listed()).toBe(200);
    await change(service, job);
    expect(await listed()).toBe(status);
  });

  test("the deactivation of its user, and the return", async () => {
    await using service = await startService({ fourEyesDeletion: "always" });
    await blockNotifications(service.postgres);
    const { directory } = service.org.client;
    const person = { email: "mlro@example.com" };
    const { user } = await directory.upsertUser(person);
    const job = await issue(service, { actAsUserId: user!.id });
    const boundTo = async () => (await job.rest("GET", "/api/auth/me")).body.data.effectiveUserId;
    expect(await boundTo()).toBe(user!.id);
    await directory.deactivateUser({ id: user!.id });
    expect(await boundTo()).toBeUndefined();
    await directory.upsertUser(person);
    expect(await boundTo()).toBe(user!.id);
  });
});

test("ten thousand keys are unbound as fast as one when their user is deactivated", async () => {
  await using service = await startService();
  const { directory } = service.org.client;
  const { user } = await directory.upsertUser({ email: "mlro@example.com" });
  const job = await issue(service, { actAsUserId: user!.id });
  await service.postgres.asOwner(
    `insert into api_keys (org_id, id, name, environment, scopes, act_as_user_id, created_at)
     select org_id, id || n, name, environment, scopes, act_as_user_id, created_at
     from api_keys, generate_series(1, 9999) as n where id = $1`,
    [job.id],
  );
  expect((await job.rest("GET", "/api/auth/me")).body.data.effectiveUserId).toBe(user!.id);
  // It has ten seconds, as every change.
  await directory.deactivateUser({ id: user!.id });
  expect((await job.rest("GET", "/api/auth/me")).body.data.effectiveUserId).toBeUndefined();
});

describe("a key that another replica remembers", () => {
  test("is refused there as soon as Postgres has told it, though its clock stands still", async () => {
    await using replicas = await startReplicas();
    const { one, other } = replicas;
    for (let i = 0; i < 5; i++) {
      const job = await issue(one);
      const there = other.as(job.secret);
      expect(await whoAmI(there)).toBe(200);
      await one.org.client.apiKeys.revokeApiKey({ id: job.id });
      await vi.waitUntil(async () => (await whoAmI(there)) === 401, { timeout: 50_000, interval: 1 });
    }
  });

  test("is refused there after five seconds if notifications are lost", async () => {
    await using replicas = await startReplicas();
    const { one, other, postgres } = replicas;
    await blockNotifications(postgres);
    const job = await issue(one);
    const there = other.as(job.secret);
    expect(await whoAmI(there)).toBe(200);
    await one.org.client.apiKeys.revokeApiKey({ id: job.id });
    other.clock.advance(4_999);
    expect(await whoAmI(there)).toBe(200);
    other.clock.advance(1);
    expect(await whoAmI(there)).toBe(401);
  });

  test("is good there again as soon as it is, though it was unknown before", async () => {
    await using replicas = await startReplicas();
    const { one, other } = replicas;
    const raw = `qedi_${randomBytes(16).toString("hex")}`;
    expect(await whoAmI(other.as(raw))).toBe(401);
    await one.org.client.apiKeys.importKey({
      name: "legacy",
      presented: { case: "key", value: raw },
      environment: "sandbox",
      scopes: ["a:view"],
    });
    await vi.waitUntil(async () => (await whoAmI(other.as(raw))) === 200, { timeout: 50_000, interval: 1 });
  });
});

test("what was missed while the listening connection was away is forgotten when it is back", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  const rootKey = randomBytes(32).toString("base64");
  await using one = await startService({ postgres, rootKey });
  await using other = await startService({ postgres: { ...postgres, url: proxy.url }, rootKey });
  const job = await issue(one);
  const there = other.as(job.secret);
  expect(await whoAmI(there)).toBe(200);
  await proxy.close();
  await one.org.client.apiKeys.revokeApiKey({ id: job.id });
  // Remembered, and with the database away nobody can know better.
  expect(await whoAmI(there)).toBe(200);
  await proxy.reopen();
  await vi.waitUntil(async () => (await whoAmI(there)) === 401, { timeout: 50_000, interval: 10 });
});

test("a remembered key outlives the database for five seconds, and then nobody is let in", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  const job = await issue(service);
  expect(await whoAmI(job)).toBe(200);
  await proxy.close();
  service.clock.advance(4_999);
  expect(await whoAmI(job)).toBe(200);
  service.clock.advance(1);
  expect(await whoAmI(job)).toBe(503);
  // Nor is anybody refused for good whose key could not be looked up.
  expect(await whoAmI(service.as(newApiKeySecret("sandbox")))).toBe(503);
});

describe("a look-up that is under way when its key changes", () => {
  /** Look-ups whose answers wait until they are let go. */
  async function heldKeys(service: TestService, rootKey: string) {
    const database = createDatabase({
      url: service.postgres.url,
      log: pino({ level: "silent" }),
      poolSize: 4,
    });
    const held: (() => void)[] = [];
    let holds = false;
    const slow: Database = {
      ...database,
      async single(run) {
        const answer = await database.single(run);
        if (holds) await new Promise<void>((resolve) => held.push(resolve));
        return answer;
      },
    };
    const pepper = await loadPepper(database, localRootKey(rootKey), service.clock.now);
    const keys = await createKeyLookup({
      database: slow,
      pepper,
      environment: "sandbox",
      legacyPrefixes: [],
      monotonicNow: () => 0,
    });
    return {
      keys,
      held,
      hold: (on: boolean) => void (holds = on),
      letGo: () => held.splice(0).forEach((go) => go()),
      [Symbol.asyncDispose]: () => database.close(),
    };
  }

  /** Until the change has been heard of. */
  async function untilRevoked(keys: KeyLookup, secret: string): Promise<void> {
    await vi.waitUntil(async () => (await keys.find(secret))?.revokedAt !== undefined, { timeout: 50_000 });
  }

  test("is not remembered, and answers none that comes after the change", async () => {
    const rootKey = randomBytes(32).toString("base64");
    await using service = await startService({ rootKey });
    await using slow = await heldKeys(service, rootKey);
    const job = await issue(service);
    const witness = await issue(service);
    expect((await slow.keys.find(witness.secret))?.revokedAt).toBeUndefined();

    slow.hold(true);
    const early = slow.keys.find(job.secret);
    await vi.waitUntil(() => slow.held.length === 1);
    slow.hold(false);
    await service.org.client.apiKeys.revokeApiKey({ id: job.id });
    // Announced later on the same channel: when this one is heard of, the other has been.
    await service.org.client.apiKeys.revokeApiKey({ id: witness.id });
    await untilRevoked(slow.keys, witness.secret);

    const late = await slow.keys.find(job.secret);
    slow.letGo();
    expect((await early)?.revokedAt).toBeUndefined();
    expect(late?.revokedAt).toBeDefined();
    expect((await slow.keys.find(job.secret))?.revokedAt).toBeDefined();
  });
});
