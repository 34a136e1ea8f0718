import { expect, test } from "vitest";
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
  expect(events.map(({ action }) => action)).toStrictEqual([
    "api_key.end_grace",
    "api_key.rotate",
    "api_key.rotate",
    "api_key.create",
  ]);
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
