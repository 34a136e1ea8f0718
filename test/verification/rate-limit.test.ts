import { Code, ConnectError } from "@connectrpc/connect";
import { credentials } from "@grpc/grpc-js";
import { randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPatchbayClient as createGrpcJsClient } from "#src/client/grpc-js.ts";
import { reasonOf } from "#src/client/node.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

const failuresPerMinute = 5;

let service: TestService;
beforeAll(async () => {
  service = await startService({ limits: { callsPerMinute: 500, failuresPerMinute } });
});
afterAll(() => service[Symbol.asyncDispose]());

async function issue(fields: Record<string, unknown> = {}, by: Presenter = service.org) {
  const reply = await by.rest("POST", "/api/api-keys", { name: "a key", scopes: ["a:view"], ...fields });
  expect(reply.status).toBe(201);
  const { apiKey, secret } = reply.body.data as { apiKey: { id: string }; secret: string };
  return { id: apiKey.id, ...service.as(secret) };
}

const whoAmI = "/patchbay.apikeys.v1.ApiKeyService/WhoAmI";

interface Asked {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** What a caller is answered on the wire; `path` is a REST path for GET, or a procedure for POST. */
async function ask(secret: string, path: string, type = "application/json"): Promise<Asked> {
  const headers = { authorization: `Bearer ${secret}`, "content-type": type };
  const isRest = path.startsWith("/api/");
  const response = await fetch(service.url + path, {
    method: isRest ? "GET" : "POST",
    headers,
    ...(!isRest && { body: type === "application/json" ? "{}" : Buffer.alloc(5) }),
  });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** What a gRPC call's header or trailer said, and how it ended. */
async function askGrpc({ client }: Presenter) {
  const said = new Headers();
  const keep = (headers: Headers) => headers.forEach((value, name) => said.set(name, value));
  const options = { onHeader: keep, onTrailer: keep };
  const error = await client.apiKeys.whoAmI({}, options).then(() => undefined, ConnectError.from);
  error?.metadata.forEach((value, name) => said.set(name, value));
  return { error, headers: said };
}

function limitsIn(headers: Headers) {
  return {
    policy: headers.get("ratelimit-policy"),
    limit: headers.get("ratelimit"),
    retryAfter: headers.get("retry-after"),
  };
}

describe("every answer to a known key says what is left", () => {
  const policy = '"default";q=100;w=60';

  test("over REST, Connect, gRPC-Web and gRPC, whose calls share one budget", async () => {
    const key = await issue({ rateLimitPerMinute: 100 });
    const rest = await ask(key.secret, "/api/auth/me");
    const connect = await ask(key.secret, whoAmI);
    const web = await ask(key.secret, whoAmI, "application/grpc-web+proto");
    const grpc = await askGrpc(key);
    expect([rest.status, connect.status, web.status, grpc.error]).toStrictEqual([200, 200, 200, undefined]);
    expect([rest, connect, web, grpc].map(({ headers }) => limitsIn(headers))).toStrictEqual([
      { policy, limit: '"default";r=99;t=1', retryAfter: null },
      { policy, limit: '"default";r=98;t=2', retryAfter: null },
      { policy, limit: '"default";r=97;t=2', retryAfter: null },
      { policy, limit: '"default";r=96;t=3', retryAfter: null },
    ]);
  });

  test("refusals too: a missing scope, an unknown record, a body that cannot be read", async () => {
    const key = await issue({ scopes: ["api:manage"], rateLimitPerMinute: 100 });
    const scope = await ask(key.secret, "/api/audit/events");
    const scopeConnect = await ask(key.secret, "/patchbay.audit.v1.AuditService/ListAuditEvents");
    const unknown = await ask(key.secret, "/api/api-keys/key_none");
    const invalid = await ask(key.secret, "/api/api-keys?pageSize=-1");
    expect(scope.body).toBe('{"error":"missing scope: audit:view"}');
    expect([scope.status, scopeConnect.status, unknown.status, invalid.status]).toStrictEqual([
      403, 403, 404, 400,
    ]);
    const left = [scope, scopeConnect, unknown, invalid].map(({ headers }) => limitsIn(headers).limit);
    expect(left.map((limit) => limit?.split(";")[1])).toStrictEqual(["r=99", "r=98", "r=97", "r=96"]);
  });

  test("a missing scope over gRPC", async () => {
    const key = await issue({ rateLimitPerMinute: 100 });
    const said = new Headers();
    const keep = (headers: Headers) => headers.forEach((value, name) => said.set(name, value));
    const asked = key.client.audit.listAuditEvents({}, { onHeader: keep });
    const error = ConnectError.from(await asked.catch((thrown: unknown) => thrown));
    error.metadata.forEach((value, name) => said.set(name, value));
    expect(error.rawMessage).toBe("missing scope: audit:view");
    expect(limitsIn(said)).toStrictEqual({ policy, limit: '"default";r=99;t=1', retryAfter: null });
  });

  test("a key that is not known is told nothing of limits, and neither is a health check", async () => {
    const health = await fetch(`${service.url}/healthz`);
    const unknown = await ask("qe_sk_none", "/api/auth/me");
    for (const { headers } of [health, unknown]) {
      expect(limitsIn(headers)).toStrictEqual({ policy: null, limit: null, retryAfter: null });
    }
    service.clock.advance(60_000);
  });
});

describe("a key that has spent its budget", () => {
  let spent: Presenter & { id: string };
  beforeAll(async () => {
    spent = await issue({ rateLimitPerMinute: 3 });
    for (let i = 0; i < 3; i++) expect((await ask(spent.secret, "/api/auth/me")).status).toBe(200);
  });

  const refused = {
    policy: '"default";q=3;w=60',
    limit: '"default";r=0;t=60',
    retryAfter: "20",
  };

  test("is refused over REST with exactly these bytes", async () => {
    const { status, headers, body } = await ask(spent.secret, "/api/auth/me");
    expect([status, body]).toStrictEqual([429, '{"error":"rate limit exceeded"}']);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("x-error-reason")).toBe("RATE_LIMITED");
    expect(headers.has("www-authenticate")).toBe(false);
    expect(limitsIn(headers)).toStrictEqual(refused);
  });

  test("is refused before its scope is looked at", async () => {
    expect((await ask(spent.secret, "/api/audit/events")).body).toBe('{"error":"rate limit exceeded"}');
  });

  test("is refused over Connect", async () => {
    const { status, headers, body } = await ask(spent.secret, whoAmI);
    expect([status, body]).toStrictEqual([
      429,
      '{"code":"resource_exhausted","message":"rate limit exceeded","details":[{"type":"google.rpc.ErrorInfo",' +
        '"debug":{"reason":"RATE_LIMITED","domain":"patchbay","metadata":{}},' +
        '"value":"CgxSQVRFX0xJTUlURUQSCHBhdGNoYmF5"}]}',
    ]);
    expect(limitsIn(headers)).toStrictEqual(refused);
  });

  test("is refused over gRPC", async () => {
    const { error, headers } = await askGrpc(spent);
    expect([error?.code, error?.rawMessage]).toStrictEqual([Code.ResourceExhausted, "rate limit exceeded"]);
    expect(reasonOf(error)).toBe("RATE_LIMITED");
    expect(limitsIn(headers)).toStrictEqual(refused);
  });

  test("is refused over grpc-js, with the same text", async () => {
    const client = createGrpcJsClient({
      address: new URL(service.url).host,
      credentials: credentials.createInsecure(),
      apiKey: spent.secret,
    });
    await expect(client.apiKeys.whoAmI({})).rejects.toMatchObject({
      code: 8,
      details: "rate limit exceeded",
    });
    client.close();
  });

  test("leaves the budgets of other keys as they are", async () => {
    const other = await issue({ rateLimitPerMinute: 3 });
    expect(limitsIn((await ask(other.secret, "/api/auth/me")).headers).limit).toBe('"default";r=2;t=20');
  });

  test("is let in when Retry-After has passed, and not a second before", async () => {
    service.clock.advance(19_000);
    expect(limitsIn((await ask(spent.secret, "/api/auth/me")).headers).retryAfter).toBe("1");
    service.clock.advance(1_000);
    expect((await ask(spent.secret, "/api/auth/me")).status).toBe(200);
    expect((await ask(spent.secret, "/api/auth/me")).status).toBe(429);
  });

  test("does not count as a failed authentication of its address", async () => {
    for (let i = 0; i < 2 * failuresPerMinute; i++) await ask(spent.secret, "/api/auth/me");
    expect((await service.org.rest("GET", "/api/auth/me")).status).toBe(200);
  });
});

describe("the limit of a key", () => {
  test("is the deployment's if it has none of its own, and again once its own is cleared", async () => {
    const key = await issue();
    const policyOf = async () => limitsIn((await ask(key.secret, "/api/auth/me")).headers).policy;
    const change = (rateLimitPerMinute: number | null) =>
      service.org.rest("PATCH", `/api/api-keys/${key.id}`, { rateLimitPerMinute });
    expect(await policyOf()).toBe('"default";q=500;w=60');
    expect((await change(7)).body.data.apiKey.rateLimitPerMinute).toBe(7);
    expect(await policyOf()).toBe('"default";q=7;w=60');
    expect((await service.org.rest("PATCH", `/api/api-keys/${key.id}`, { name: "renamed" })).status).toBe(
      200,
    );
    expect(await policyOf()).toBe('"default";q=7;w=60');
    expect((await change(null)).body.data.apiKey).not.toHaveProperty("rateLimitPerMinute");
    expect(await policyOf()).toBe('"default";q=500;w=60');
    const { events } = await service.org.client.audit.listAuditEvents({ target: key.id });
    const shown = JSON.stringify(events.map(({ details }) => details));
    expect(shown).toContain('"rateLimitPerMinute":7');
  });

  test.each([0, -1, 100_001, 1.5, "many"])("cannot be %j", async (rateLimitPerMinute) => {
    const made = await service.org.rest("POST", "/api/api-keys", {
      name: "k",
      scopes: ["a:view"],
      rateLimitPerMinute,
    });
    expect([made.status, made.body]).toStrictEqual([
      400,
      { error: expect.stringContaining("rateLimitPerMinute") as string },
    ]);
  });

  test("cannot be raised by the key itself", async () => {
    const manager = await issue({ scopes: ["api:manage"], rateLimitPerMinute: 50 });
    for (const rateLimitPerMinute of [100_000, null]) {
      const reply = await manager.rest("PATCH", `/api/api-keys/${manager.id}`, { rateLimitPerMinute });
      expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([403, "SELF_MODIFICATION"]);
    }
  });

  test("holds for all its secrets together", async () => {
    const key = await issue({ rateLimitPerMinute: 3 });
    await ask(key.secret, "/api/auth/me");
    const rotated = await service.org.rest("POST", `/api/api-keys/${key.id}/rotate`, {});
    const secret = rotated.body.data.secret as string;
    const left = [];
    for (const one of [secret, key.secret, secret, key.secret]) {
      left.push((await ask(one, "/api/auth/me")).headers.get("ratelimit")?.split(";")[1]);
    }
    expect(left).toStrictEqual(["r=1", "r=0", "r=0", "r=0"]);
  });
});

describe("the operator's ceiling", () => {
  const rootKey = Buffer.alloc(32, 8).toString("base64");
  let strict: TestService;
  /** Another replica, from before there was a ceiling. */
  let before: TestService;
  beforeAll(async () => {
    strict = await startService({ rootKey, limits: { callsPerMinute: 20, maxCallsPerMinute: 50 } });
    before = await startService({ rootKey, postgres: strict.postgres });
  });
  afterAll(async () => {
    await before[Symbol.asyncDispose]();
    await strict[Symbol.asyncDispose]();
  });

  const wanted = { name: "k", scopes: ["a:view"] };
  const imported = () => ({ ...wanted, environment: "sandbox", sha256: randomBytes(32).toString("hex") });

  test("is what a key may be given, issued, imported or changed; beyond it is refused, by the setting's name", async () => {
    const { body } = await strict.org.rest("POST", "/api/api-keys", { ...wanted, rateLimitPerMinute: 50 });
    const path = `/api/api-keys/${body.data.apiKey.id}`;
    for (const [method, at, fields] of [
      ["POST", "/api/api-keys", wanted],
      ["POST", "/api/api-keys/import", imported()],
      ["PATCH", path, {}],
    ] as const) {
      const refused = await strict.org.rest(method, at, { ...fields, rateLimitPerMinute: 51 });
      expect([refused.status, refused.body]).toStrictEqual([
        400,
        {
          error:
            "rateLimitPerMinute: at most 50 in this deployment; the operator sets that by " +
            "--max-rate-limit-per-minute (PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE)",
        },
      ]);
      const taken = await strict.org.rest(method, at, { ...fields, rateLimitPerMinute: 50 });
      expect(taken.body.data.apiKey.rateLimitPerMinute).toBe(50);
    }
  });

  test("holds keys that were given more before, at the gate and for who verifies them", async () => {
    const { apiKey, secret } = await before.as(strict.org.secret).client.apiKeys.createApiKey({
      ...wanted,
      rateLimitPerMinute: 100_000,
    });
    const key = strict.as(secret);
    const policyOf = async () => (await key.rest("GET", "/api/auth/me")).headers.get("ratelimit-policy");
    expect(await policyOf()).toBe('"default";q=50;w=60');
    const { budget } = await strict.org.client.verification.verifyKey({ key: secret });
    expect(budget!.limit).toBe(50);
    // What else is changed about it is no reason to refuse what it has.
    const renamed = await strict.org.rest("PATCH", `/api/api-keys/${apiKey!.id}`, { name: "renamed" });
    expect(renamed.body.data.apiKey).toMatchObject({ name: "renamed", rateLimitPerMinute: 100_000 });
    await strict.org.rest("PATCH", `/api/api-keys/${apiKey!.id}`, { rateLimitPerMinute: null });
    expect(await policyOf()).toBe('"default";q=20;w=60');
  });
});

test("a key of the other environment is not charged", async () => {
  const rootKey = Buffer.alloc(32, 7).toString("base64");
  await using sandbox = await startService({ rootKey, limits: { callsPerMinute: 100 } });
  await using live = await startService({ rootKey, environment: "live", postgres: sandbox.postgres });
  const refused = await live.as(sandbox.org.secret).rest("GET", "/api/auth/me");
  expect([refused.status, refused.body]).toStrictEqual([403, { error: "key is sandbox; endpoint is live" }]);
  expect(refused.headers.has("ratelimit")).toBe(false);
});

describe("an address from which too many calls fail to authenticate", () => {
  const asked = (from: string, secret: string, path = "/api/auth/me") =>
    new Promise<{ status: number | undefined; body: string; retryAfter: string | undefined }>(
      (resolve, reject) => {
        const headers = { authorization: `Bearer ${secret}`, connection: "close" };
        const { port } = new URL(service.url);
        const options = { host: "127.0.0.1", port, path, localAddress: from, headers };
        httpRequest(options, (response) => {
          const { statusCode: status, headers: answered } = response;
          text(response).then(
            (body) => resolve({ status, body, retryAfter: answered["retry-after"] }),
            reject,
          );
        })
          .once("error", reject)
          .end();
      },
    );

  const limited = { status: 429, body: '{"error":"rate limit exceeded"}', retryAfter: "12" };
  const invalid = { status: 401, body: '{"error":"missing or invalid Bearer"}', retryAfter: undefined };

  test("is refused, whatever key comes next, until its time is over; probes are not", async () => {
    service.clock.advance(60_000);
    for (let i = 0; i < failuresPerMinute; i++) {
      expect(await asked("127.0.0.1", i % 2 === 0 ? "nonsense" : `${service.org.secret}X`)).toStrictEqual(
        invalid,
      );
    }
    expect(await asked("127.0.0.1", "nonsense")).toStrictEqual(limited);
    expect(await asked("127.0.0.1", service.org.secret)).toStrictEqual(limited);
    const { error } = await askGrpc(service.org);
    expect([error?.code, error?.rawMessage]).toStrictEqual([Code.ResourceExhausted, "rate limit exceeded"]);
    expect((await asked("127.0.0.1", "nonsense", "/healthz")).status).toBe(200);
    service.clock.advance(12_000);
    expect((await asked("127.0.0.1", service.org.secret)).status).toBe(200);
    expect(await asked("127.0.0.1", "nonsense")).toStrictEqual(invalid);
    expect(await asked("127.0.0.1", "nonsense")).toStrictEqual(limited);
  });

  // Only Linux lets anybody call from all of 127.0.0.0/8.
  test.runIf(process.platform === "linux")("leaves other addresses alone", async () => {
    service.clock.advance(60_000);
    for (let i = 0; i <= failuresPerMinute; i++) await asked("127.0.0.2", "nonsense");
    expect(await asked("127.0.0.2", service.org.secret)).toStrictEqual(limited);
    expect((await asked("127.0.0.1", service.org.secret)).status).toBe(200);
  });
});
