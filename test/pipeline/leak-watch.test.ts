import { create, toBinary } from "@bufbuild/protobuf";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GetApiKeyRequestSchema } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { startService, type Presenter, type Tenant, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

interface Issued {
  readonly id: string;
  readonly secret: string;
}

async function issue(by: Presenter = service.org): Promise<Issued> {
  const { apiKey, secret } = await by.client.apiKeys.createApiKey({ name: "job", scopes: ["a:view"] });
  return { id: apiKey!.id, secret };
}

interface Leaked {
  readonly target: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** The leaks that an organisation was told of, oldest first. */
async function leaksOf(owner: Presenter): Promise<Leaked[]> {
  const { body } = await owner.rest("GET", "/api/audit/events?action=api_key.leaked&pageSize=1000");
  return (body.data.events as Leaked[]).toReversed();
}

/** The same, once all that was sent so far is looked into: what is sent now comes after it. */
async function settledLeaks(owner: Tenant, by = service): Promise<Leaked[]> {
  const marker = await issue(by.org);
  await fetch(`${by.url}/healthz?marker=${marker.secret}`);
  const seen = async () => (await leaksOf(by.org)).some(({ target }) => target === marker.id);
  await expect.poll(seen, { timeout: 50_000 }).toBe(true);
  return (await leaksOf(owner)).filter(({ target }) => target !== marker.id);
}

const getApiKey = "/patchbay.apikeys.v1.ApiKeyService/GetApiKey";

function binary(id: string): string {
  return Buffer.from(toBinary(GetApiKeyRequestSchema, create(GetApiKeyRequestSchema, { id }))).toString(
    "base64url",
  );
}

describe("the owner of a key is told where in a URL it was", () => {
  test.each<[string, (secret: string) => string, number, string, string]>([
    ["a parameter", (key) => `/api/auth/me?access_token=${key}`, 400, "query", "/api/auth/me"],
    ["a parameter of any name", (key) => `/api/api-keys?q=${key}&q=2`, 400, "query", "/api/api-keys"],
    [
      "a parameter, escaped twice",
      (key) => `/api/api-keys?q=${key.replaceAll("_", "%255f")}`,
      400,
      "query",
      "/api/api-keys",
    ],
    [
      "a parameter, in lower case",
      (key) => `/api/api-keys?q=${key.toLowerCase()}`,
      400,
      "query",
      "/api/api-keys",
    ],
    [
      "a Bearer token with a plus sign",
      (key) => `/api/api-keys?q=Bearer+${key}`,
      400,
      "query",
      "/api/api-keys",
    ],
    [
      "a Connect GET",
      (key) => `${getApiKey}?connect=v1&encoding=json&message=%7B%22id%22:%22${key}%22%7D`,
      400,
      "query",
      getApiKey,
    ],
    [
      "a binary Connect GET",
      (key) => `${getApiKey}?connect=v1&encoding=proto&base64=1&message=${binary(key)}`,
      400,
      "query",
      getApiKey,
    ],
    ["the path", (key) => `/api/api-keys/${key}`, 400, "path", "/api/api-keys/[redacted]"],
    [
      "the path, escaped twice",
      (key) => `/api/api-keys/${key.replaceAll("_", "%255f")}`,
      400,
      "path",
      "/api/api-keys/[redacted]",
    ],
    ["a path that there is not", (key) => `/api/v1/keys/${key}`, 404, "path", "/api/v1/keys/[redacted]"],
    ["a health check", (key) => `/healthz?key=${key}`, 200, "query", "/healthz"],
  ])("%s", async (_, urlOf, status, place, path) => {
    const { id, secret } = await issue();
    const answer = await service.org.rest("GET", urlOf(secret));
    expect(answer.status).toBe(status);
    if (status === 400)
      expect(JSON.stringify(answer.body)).toContain("credentials must not be sent in the URL");
    const [leaked, ...others] = (await settledLeaks(service.org)).filter(({ target }) => target === id);
    expect(others).toEqual([]);
    expect(leaked!.details).toStrictEqual({
      name: "job",
      place,
      path,
      stillGood: true,
      secretValidUntil: null,
      requestId: answer.headers.get("x-request-id"),
      clientAddress: "127.0.0.1",
      suppressed: 0,
    });
    expect(service.logged().toUpperCase()).not.toContain(secret.slice(-32));
  });

  test("over gRPC and gRPC-Web too", async () => {
    const keys = [await issue(), await issue()];
    const session = connectHttp2(service.url);
    const stream = session.request({
      ":method": "POST",
      ":path": `${getApiKey}?t=${keys[0]!.secret}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const trailers = await new Promise((resolve) => {
      stream.on("response", (headers) => "grpc-status" in headers && resolve(headers));
      stream.on("trailers", resolve);
      stream.resume().end();
    });
    expect(trailers).toMatchObject({
      "grpc-status": "3",
      "grpc-message": "credentials must not be sent in the URL",
    });
    session.destroy();
    const headers = { "content-type": "application/grpc-web+proto" };
    await fetch(`${service.url}${getApiKey}?t=${keys[1]!.secret}`, {
      method: "POST",
      headers,
      body: Buffer.alloc(5),
    });
    const told = (await settledLeaks(service.org)).map(({ target }) => target);
    expect(told).toEqual(expect.arrayContaining(keys.map(({ id }) => id)));
  });

  test("in the user of a whole URL", async () => {
    const { id, secret } = await issue();
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    socket.write(`GET http://me:${secret}@host/api/auth/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    await text(socket);
    expect((await settledLeaks(service.org)).map(({ target }) => target)).toContain(id);
  });

  test("in a parameter that is named for credentials, if it is a key of an earlier system", async () => {
    const secret = "qedi_9f8e7d6c5b4a39281706";
    const imported = { name: "old", key: secret, environment: "sandbox", scopes: ["a:view"] };
    const { body } = await service.org.rest("POST", "/api/api-keys/import", imported);
    const { id } = body.data.apiKey as { id: string };
    await service.org.rest("GET", `/api/auth/me?Api-Key=${secret}`);
    expect((await settledLeaks(service.org)).map(({ target }) => target)).toContain(id);
  });
});

test("three keys of one URL are looked up, and no more", async () => {
  const keys = await Promise.all([issue(), issue(), issue(), issue()]);
  const query = keys.map(({ secret }) => `a=${secret}&token=${secret}`).join("&");
  await service.org.rest("GET", `/api/auth/me?${query}`);
  const told = new Set((await settledLeaks(service.org)).map(({ target }) => target));
  expect(keys.map(({ id }) => told.has(id))).toEqual([true, true, true, false]);
});

test("a key that is split over two parameters is not found: nothing says that they belong together", async () => {
  const { id, secret } = await issue();
  await service.org.rest("GET", `/api/auth/me?a=${secret.slice(0, 20)}&b=${secret.slice(20)}`);
  expect((await settledLeaks(service.org)).map(({ target }) => target)).not.toContain(id);
});

test("a leaked key goes on working, and a refused one is told of as well", async () => {
  const good = await issue();
  const revoked = await issue();
  await service.org.client.apiKeys.revokeApiKey({ id: revoked.id });
  for (const { secret } of [good, revoked]) await fetch(`${service.url}/api/auth/me?token=${secret}`);
  const told = new Map((await settledLeaks(service.org)).map(({ target, details }) => [target, details]));
  expect(told.get(good.id)).toMatchObject({ stillGood: true });
  expect(told.get(revoked.id)).toMatchObject({ stillGood: false });
  expect((await service.as(good.secret).rest("GET", "/api/auth/me")).status).toBe(200);
});

test("only the organisation that owns the key is told, whoever sent it", async () => {
  const other = await service.newOrganization("globex");
  const theirs = await issue(other);
  const before = await leaksOf(service.org);
  await service.org.rest("GET", `/api/auth/me?token=${theirs.secret}`);
  expect(await settledLeaks(other)).toMatchObject([{ target: theirs.id }]);
  const added = (await leaksOf(service.org)).slice(before.length);
  expect(added.map(({ target }) => target)).not.toContain(theirs.id);
});

test("the answer is the same, byte by byte, for good, revoked and unknown keys, and for what is no key", async () => {
  const good = await issue();
  const revoked = await issue();
  await service.org.client.apiKeys.revokeApiKey({ id: revoked.id });
  const answerTo = async (value: string) => {
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    const headers = "host: x\r\nx-request-id: same\r\nconnection: close\r\n";
    socket.write(`GET /api/auth/me?token=${value} HTTP/1.1\r\n${headers}\r\n`);
    return (await text(socket)).replace(/^date: .*$/im, "");
  };
  const expected = await answerTo("x");
  expect(expected).toMatch(/^HTTP\/1\.1 400 [\s\S]*\{"error":"credentials must not be sent in the URL"\}$/);
  for (const value of [
    good.secret,
    revoked.secret,
    newApiKeySecret("sandbox"),
    newApiKeySecret("live"),
    "qedi_x",
  ]) {
    expect(await answerTo(value)).toBe(expected);
  }
});

describe("a client of whom too many keys in URLs were looked up", () => {
  let limited: TestService;
  beforeAll(async () => {
    limited = await startService({ limits: { failuresPerMinute: 4 } });
  });
  afterAll(() => limited[Symbol.asyncDispose]());
  const guess = async () => (await limited.as(newApiKeySecret("sandbox")).rest("GET", "/api/auth/me")).status;

  async function revoked() {
    const { id, secret } = await issue(limited.org);
    await limited.org.client.apiKeys.revokeApiKey({ id });
    return secret;
  }

  test.each<[string, () => Promise<string>]>([
    ["unknown", async () => newApiKeySecret("sandbox")],
    ["good", async () => (await issue(limited.org)).secret],
    ["revoked", revoked],
  ])(
    "is refused as one who failed to authenticate so often, with %s keys as with others",
    async (_, keyOf) => {
      limited.clock.advance(60_000);
      const missed = await issue(limited.org);
      const secrets = await Promise.all([keyOf(), keyOf(), keyOf()]);
      for (const secret of secrets) await fetch(`${limited.url}/api/auth/me?token=${secret}`);
      // It sends a fourth one.
      await settledLeaks(limited.org, limited);
      expect(await guess()).toBe(429);
      const answer = await fetch(`${limited.url}/api/auth/me?token=${missed.secret}`);
      expect(answer.status).toBe(400);
      // From here on the address may look up again, and that comes after the one before.
      limited.clock.advance(60_000);
      expect((await settledLeaks(limited.org, limited)).map(({ target }) => target)).not.toContain(missed.id);
    },
  );

  test("is not one who sent other things there, such as a health check with a parameter named key", async () => {
    limited.clock.advance(60_000);
    for (const url of [
      "/healthz?key=a",
      "/healthz?key=b",
      "/api/x?token=a",
      "/api/x?q=Bearer+b",
      "/api/x?auth=c",
    ])
      await fetch(limited.url + url);
    await settledLeaks(limited.org, limited);
    expect(await guess()).toBe(401);
  });
});

test("the answer does not wait for the look-up", async () => {
  const { id, secret } = await issue();
  await service.postgres.asOwner("begin");
  try {
    await service.postgres.asOwner("lock table api_key_secrets in access exclusive mode");
    const answer = await fetch(`${service.url}/api/auth/me?token=${secret}`, {
      signal: AbortSignal.timeout(2_000),
    });
    expect(answer.status).toBe(400);
  } finally {
    await service.postgres.asOwner("rollback");
  }
  expect((await settledLeaks(service.org)).map(({ target }) => target)).toContain(id);
});

test("a flood of URLs with a key leaves one event, whole records, and no key in the log", async () => {
  await using flooded = await startService();
  const { id, secret } = await issue(flooded.org);
  const session = connectHttp2(flooded.url);
  let answered = 0;
  const ask = () =>
    new Promise<void>((resolve, reject) => {
      const stream = session.request({ ":path": `/api/auth/me?access_token=${secret}` });
      stream.on("response", (headers) => (answered += headers[":status"] === 400 ? 1 : 0));
      stream.on("error", reject).on("close", () => resolve());
      stream.resume();
    });
  for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 50 }, ask));
  session.destroy();
  expect(answered).toBe(1_000);
  expect(await settledLeaks(flooded.org, flooded)).toMatchObject([{ target: id }]);
  expect(flooded.logged()).not.toContain(secret);
  expect(await flooded.org.client.audit.verifyAudit({})).toMatchObject({ valid: true });
  const events = await flooded.postgres.asOwner("select * from audit_events");
  expect(JSON.stringify(events)).not.toContain(secret);
});

test("a shutdown records the leaks that came before it", async () => {
  await using stopped = await startService();
  const { id, secret } = await issue(stopped.org);
  await fetch(`${stopped.url}/api/auth/me?token=${secret}`);
  await stopped.app.close(1_000);
  const events = await stopped.postgres.asOwner(
    "select target from audit_events where action = 'api_key.leaked'",
  );
  expect(events).toEqual([{ target: id }]);
});
