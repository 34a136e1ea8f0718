import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const baseUrl = "https://ledger.example";

async function create(method: string, credentials: Record<string, string>): Promise<string> {
  const wanted = { integration: "custom:ledger", authMethod: method, baseUrl, credentials };
  return (await service.org.client.connections.createConnection(wanted)).connection!.id;
}

async function check(id: string, candidate: object) {
  const { status, headers, body } = await service.org.rest(
    "POST",
    `/api/connections/${id}/check-credential`,
    candidate,
  );
  return { status, reason: headers.get("x-error-reason"), retryAfter: headers.get("retry-after"), body };
}

test.each<[what: string, method: string, candidate: object, matches: boolean]>([
  [
    "both fields as they are stored",
    "basic",
    { credentials: { username: "u", password: "stored-password" } },
    true,
  ],
  ["the secret alone", "basic", { credentials: { password: "stored-password" } }, true],
  ["another secret", "basic", { credentials: { username: "u", password: "other" } }, false],
  [
    "another field beside the secret",
    "basic",
    { credentials: { username: "v", password: "stored-password" } },
    false,
  ],
  ["a secret that begins alike", "basic", { credentials: { password: "stored-passwor" } }, false],
  ["no secret", "basic", { credentials: { username: "u" } }, false],
  ["an API key as it is stored", "api-key", { apiKey: "stored-password" }, true],
  ["another API key", "api-key", { apiKey: "other" }, false],
])(
  "%s: says whether it is the stored credential, and nothing else",
  async (_, method, candidate, matches) => {
    const stored = {
      basic: { username: "u", password: "stored-password" },
      "api-key": { apiKey: "stored-password" },
    };
    const id = await create(method, stored[method as keyof typeof stored]);
    const { status, body } = await check(id, candidate);
    expect([status, body]).toStrictEqual([200, { data: { matches } }]);
  },
);

test("an API key that a slug was given is checked as one", async () => {
  const wanted = { serviceSlug: "custom:by-slug", baseUrl, apiKey: "key-of-the-slug" };
  const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
  expect((await check(connection!.id, { apiKey: "key-of-the-slug" })).body.data.matches).toBe(true);
  expect((await check(connection!.id, { apiKey: "key-of-the-slu" })).body.data.matches).toBe(false);
});

test("each check is recorded with its outcome, without the candidate", async () => {
  const id = await create("basic", { username: "u", password: "recorded-password" });
  await check(id, { credentials: { password: "recorded-password" } });
  await check(id, { credentials: { password: "guessed-password" } });
  const { events } = await service.org.client.audit.listAuditEvents({ target: id });
  const checks = events.filter(({ action }) => action === "connection.check").map(({ details }) => details);
  expect(checks).toStrictEqual([{ matches: false }, { matches: true }]);
});

test("five a minute of one connection are answered, whoever asks, and others are not held up by that", async () => {
  const id = await create("basic", { username: "u", password: "guarded-password" });
  const other = await create("basic", { username: "u", password: "guarded-password" });
  const guess = (which: string) => check(which, { credentials: { password: "guess" } });
  for (let i = 0; i < 5; i++) expect((await guess(id)).status).toBe(200);
  const { status, reason, retryAfter } = await guess(id);
  expect([status, reason, retryAfter]).toStrictEqual([429, "RATE_LIMITED", "12"]);
  expect((await guess(other)).status).toBe(200);
  service.clock.advance(12_000);
  expect((await guess(id)).status).toBe(200);
});

test.each<[what: string, candidate: object, text: RegExp]>([
  [
    "a field that the method has not",
    { credentials: { token: "x" } },
    /^credentials: basic has username, password/,
  ],
  [
    "both ways at once",
    { apiKey: "x", credentials: { password: "x" } },
    /apiKey: give one of apiKey, credentials/,
  ],
  ["nothing", {}, /apiKey: give one of apiKey, credentials/],
])("refuses %s with 400, and counts it for nothing", async (_, candidate, text) => {
  const id = await create("basic", { username: "u", password: "some-password" });
  const { status, body } = await check(id, candidate);
  expect([status, body.error]).toStrictEqual([400, expect.stringMatching(text)]);
});
