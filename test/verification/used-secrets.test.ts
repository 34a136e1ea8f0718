import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "#src/db/connection.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type RestReply, type TestService } from "../support/service.ts";

let here: TestService;
/** Another replica. */
let there: TestService;
beforeAll(async () => {
  const rootKey = randomBytes(32).toString("base64");
  here = await startService({ rootKey });
  there = await startService({ rootKey, postgres: here.postgres });
});
afterAll(async () => {
  await there[Symbol.asyncDispose]();
  await here[Symbol.asyncDispose]();
});

async function issue() {
  const { apiKey, secret } = await here.org.client.apiKeys.createApiKey({ name: "k", scopes: ["a:view"] });
  return { id: apiKey!.id, secret };
}

const use = async (secret: string) => (await there.as(secret).rest("GET", "/api/auth/me")).status;
const verify = async (secret: string) =>
  (await there.as(here.org.secret).client.verification.verifyKey({ key: secret })).valid ? 200 : 401;
const replace = (id: string) => here.org.rest("POST", `/api/api-keys/${id}/rotate`, { replaceUnused: true });
const outcomeOf = ({ status, headers }: RestReply) => [status, headers.get("x-error-reason")];

const inUse = [409, "SECRET_IN_USE"];
const done = [200, null];

describe("a secret that was used once is not taken for a lost one, wherever it was", () => {
  test.each([
    ["used", use],
    ["verified", verify],
  ])("%s at another replica a moment ago", async (_, present) => {
    const { id, secret } = await issue();
    expect(await present(secret)).toBe(200);
    expect(outcomeOf(await replace(id))).toStrictEqual(inUse);
    expect(await present(secret)).toBe(200);
  });

  test.each([
    ["used", use],
    ["verified", verify],
  ])(
    "%s for the first time while it is being replaced: one of the two fails, the later one",
    async (_, present) => {
      for (const first of ["use", "replacement"]) {
        const { id, secret } = await issue();
        const outcome: { used?: number; replaced?: (number | string | null)[] } = {};
        const begin = {
          use: async () => (outcome.used = await present(secret)),
          replacement: async () => (outcome.replaced = outcomeOf(await replace(id))),
        };
        await using holder = await holdSecretOf(id);
        const inOrder = first === "use" ? [begin.use, begin.replacement] : [begin.replacement, begin.use];
        const running: Promise<unknown>[] = [];
        for (const start of inOrder) {
          running.push(start());
          await holder.untilWaiting(running.length);
        }
        await holder.release();
        await Promise.all(running);
        expect(outcome).toStrictEqual(
          first === "use" ? { used: 200, replaced: inUse } : { used: 401, replaced: done },
        );
        expect(await present(secret)).toBe(first === "use" ? 200 : 401);
      }
    },
  );

  test("used before its row is locked", async () => {
    const { id, secret } = await issue();
    expect(await use(secret)).toBe(200);
    await using holder = await holdSecretOf(id);
    const replacing = replace(id);
    await holder.untilWaiting(1);
    expect(await use(secret)).toBe(200);
    await holder.release();
    expect(outcomeOf(await replacing)).toStrictEqual(inUse);
  });
});

test("a secret whose first use cannot be written is not let in, so replacing it takes it from nobody", async () => {
  const { id, secret } = await issue();
  const holder = await holdSecretOf(id);
  const refused = await there.as(secret).rest("GET", "/api/auth/me");
  expect(outcomeOf(refused)).toStrictEqual([503, "DATABASE_UNAVAILABLE"]);
  await expect(verify(secret)).rejects.toThrow(/too busy and nothing was changed/);
  await holder.release();
  const shown = await here.org.rest("GET", `/api/api-keys/${id}`);
  expect(shown.body.data.apiKey).not.toHaveProperty("lastUsedAt");
  expect(outcomeOf(await replace(id))).toStrictEqual(done);
  expect(await use(secret)).toBe(401);
});

test("the same secret is let in as soon as its first use can be written", async () => {
  const { id, secret } = await issue();
  const holder = await holdSecretOf(id);
  expect(await use(secret)).toBe(503);
  await holder.release();
  expect(await use(secret)).toBe(200);
  expect(outcomeOf(await replace(id))).toStrictEqual(inUse);
});

test("a refused key is none that was used", async () => {
  const { apiKey, secret } = await here.org.client.apiKeys.createApiKey({
    name: "k",
    scopes: ["a:view"],
    allowedCidrs: ["192.0.2.1"],
  });
  expect(await use(secret)).toBe(403);
  expect(outcomeOf(await replace(apiKey!.id))).toStrictEqual(done);
});

test("the first use of a secret is written once, however many calls come with it", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  const costOf = async (calls: number) => {
    const { secret } = await service.org.client.apiKeys.createApiKey({ name: "k", scopes: ["a:view"] });
    const before = proxy.statements();
    await Promise.all(Array.from({ length: calls }, () => service.as(secret).client.apiKeys.whoAmI({})));
    return proxy.statements() - before;
  };
  await service.org.rest("GET", "/api/auth/me");
  expect(await costOf(20)).toBe(await costOf(1));
});

/** Holds the row of the key's one secret, as a transaction that is stuck does. */
async function holdSecretOf(keyId: string) {
  const holder = openConnection(here.postgres.url, {});
  await holder.run("begin");
  await holder.run("select from api_key_secrets where key_id = $1 for update", [keyId]);
  const waiting =
    "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  let held = true;
  async function release() {
    if (held) await holder.run("rollback");
    held = false;
    await holder.end();
  }
  return {
    /** Until so many transactions wait for it. */
    untilWaiting: (count: number) =>
      expect.poll(async () => (await here.postgres.asOwner(waiting)).length, { interval: 5 }).toBe(count),
    release,
    [Symbol.asyncDispose]: release,
  };
}
